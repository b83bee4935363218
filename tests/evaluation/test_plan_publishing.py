"""Plans are published only where answers hold. No GPU is needed: the plans here are ONNX files that answer amiss."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from semface.errors import Reason, SemfaceError
from semface.evaluation.plan_checks import PlanChecks
from semface.evaluation.plan_publishing import Publication, publish_plans
from semface.inference.derived_repository import MANIFEST_FILE
from semface.inference.embedded import EmbeddedEngine, load_network, runner
from semface.inference.engine import Arrays
from semface.inference.repository import ModelRepository
from semface.inference.tensorrt_plans import (
    CALIBRATION_ROWS,
    Precision,
    RunPlan,
    Shapes,
    TensorRTBuilder,
    calibration_shapes,
    plan_folder,
    plan_profiles,
)

FACES = 24

Distort = Callable[[np.ndarray], np.ndarray]


class OnnxPlans:
    """Builds "plans" that are the ONNX file with a mark of the precision before it, and runs them distorted."""

    gpu = "NVIDIA Test GPU (80 GB)"
    version = "10.3.0"

    def __init__(self, distortions: Mapping[Precision, Distort], failing: Sequence[Precision] = ()) -> None:
        self._distortions = distortions
        self._failing = failing
        self.built: list[tuple[str, Precision]] = []

    def build(
        self, network: Path, profiles: Sequence[Mapping[str, Shapes]], precision: Precision, calibration: Arrays
    ) -> bytes:
        assert profiles
        assert all(len(array) == FACES for array in calibration.values())
        if precision in self._failing:
            raise SemfaceError(Reason.MODEL_LOADING, "TensorRT cannot build it")
        self.built.append((network.parents[1].name, precision))
        return precision.value.encode() + network.read_bytes()

    def load(self, plan: bytes) -> RunPlan:
        precision = Precision(plan[:4].decode())
        run, distort = runner(load_network(plan[4:], "plan")), self._distortions[precision]
        return lambda inputs: {name: distort(array) for name, array in run(inputs).items()}


@pytest.fixture
async def checks(tiny_repository: Path) -> AsyncIterator[PlanChecks]:
    colours = np.random.default_rng(3).integers(0, 256, (FACES, 4, 4, 3), dtype=np.uint8)
    crops = colours.repeat(28, axis=1).repeat(28, axis=2)
    engine = EmbeddedEngine(tiny_repository, threads=1)
    yield PlanChecks(engine, tiny_repository, crops)
    await engine.close()


def same(array: np.ndarray) -> np.ndarray:
    return array


def shifted(array: np.ndarray) -> np.ndarray:
    return array + np.float32(0.5)


def broken(array: np.ndarray) -> np.ndarray:
    return np.full_like(array, np.nan)


async def publish(builder: OnnxPlans, checks: PlanChecks, source: Path, folder: Path) -> dict[str, Publication]:
    return await publish_plans(ModelRepository(source), folder / "out", folder / "cache", builder, checks)


def served(folder: Path, name: str) -> Any:
    text = (folder / "out" / name / "config.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


async def test_the_fastest_plan_whose_answers_hold_is_published(
    tiny_repository: Path, tmp_path: Path, checks: PlanChecks
) -> None:
    builder = OnnxPlans({Precision.INT8: same, Precision.FP16: same})
    published = await publish(builder, checks, tiny_repository, tmp_path)
    assert {name for name, one in published.items() if one.precision is not Precision.INT8} == {"dan"}
    for name in published.keys() - {"dan"}:
        assert served(tmp_path, name).platform == "tensorrt_plan"
        assert (tmp_path / "out" / name / "1" / "model.plan").read_bytes().startswith(b"int8")
    assert published["codec_analysis"].verdicts[Precision.INT8].figures["equal_latents"] == 1.0


async def test_a_plan_whose_answers_do_not_hold_is_refused_and_the_next_is_tried(
    tiny_repository: Path, tmp_path: Path, checks: PlanChecks
) -> None:
    builder = OnnxPlans({Precision.INT8: shifted, Precision.FP16: same})
    published = await publish(builder, checks, tiny_repository, tmp_path)
    for name in ("codec_analysis", "codec_synthesis", "face_detection_output"):
        assert published[name].precision is Precision.FP16
        assert published[name].verdicts[Precision.INT8].faults
        assert (tmp_path / "out" / name / "1" / "model.plan").read_bytes().startswith(b"fp16")


async def test_a_recogniser_of_pixels_is_served_from_its_onnx_file(
    tiny_repository: Path, tmp_path: Path, checks: PlanChecks
) -> None:
    published = await publish(OnnxPlans(dict.fromkeys(Precision, same)), checks, tiny_repository, tmp_path)
    assert published["dan"] == Publication(None, {})
    assert served(tmp_path, "dan").platform == "onnxruntime_onnx"


@pytest.mark.parametrize("distort", [broken, shifted], ids=["not finite", "shifted"])
async def test_where_no_plan_holds_the_network_is_served_from_its_onnx_file(
    tiny_repository: Path, tmp_path: Path, checks: PlanChecks, distort: Distort
) -> None:
    builder = OnnxPlans(dict.fromkeys(Precision, distort))
    published = await publish(builder, checks, tiny_repository, tmp_path)
    assert published["codec_synthesis"].precision is None
    config = served(tmp_path, "codec_synthesis")
    assert config.platform == "onnxruntime_onnx"
    version = tmp_path / "out" / "codec_synthesis" / "1"
    assert {path.name for path in version.iterdir()} == {"model.onnx"}
    manifest = json.loads((tmp_path / "out" / MANIFEST_FILE).read_text())
    assert manifest["target"] == "tensorrt"
    told = manifest["engines"]["models"]["codec_synthesis"]
    assert told["served"] == "onnx"
    assert told["tried"]["fp16"]["faults"]


async def test_what_cannot_be_built_is_not_published(tiny_repository: Path, tmp_path: Path, checks: PlanChecks) -> None:
    builder = OnnxPlans({Precision.FP16: same}, failing=[Precision.INT8])
    published = await publish(builder, checks, tiny_repository, tmp_path)
    assert published["codec_analysis"].precision is Precision.FP16
    assert "cannot be built" in published["codec_analysis"].verdicts[Precision.INT8].faults[0]


async def test_plans_are_kept_by_gpu_and_version_and_checked_again_but_not_built_again(
    tiny_repository: Path, tmp_path: Path, checks: PlanChecks
) -> None:
    builder = OnnxPlans({Precision.INT8: same, Precision.FP16: same})
    await publish(builder, checks, tiny_repository, tmp_path)
    folder = plan_folder(tmp_path / "cache", builder)
    assert folder == tmp_path / "cache" / "nvidia-test-gpu-80-gb" / "tensorrt-10.3.0"
    assert len(list(folder.glob("*.plan"))) == len(builder.built) == len(ModelRepository(tiny_repository).names()) - 1
    stricter = OnnxPlans({Precision.INT8: broken, Precision.FP16: same})
    published = await publish(stricter, checks, tiny_repository, tmp_path)
    assert {precision for _, precision in stricter.built} == {Precision.FP16}
    assert published["codec_analysis"].precision is Precision.FP16


@pytest.mark.parametrize(
    ("model", "precision", "off_by", "accepted"),
    [
        ("codec_synthesis", "fp16", 0.0005, True),
        ("codec_synthesis", "fp16", 0.002, False),
        ("codec_synthesis", "int8", 0.002, True),
        ("codec_synthesis", "int8", 0.02, False),
        ("face_detection_refinement", "fp16", 0.005, True),
        ("face_detection_refinement", "fp16", 0.02, False),
    ],
)
async def test_an_error_is_judged_by_the_network_and_the_precision(
    tiny_repository: Path, checks: PlanChecks, model: str, precision: str, off_by: float, accepted: bool
) -> None:
    run = runner(load_network(ModelRepository(tiny_repository).model(model).path, model))
    reference = run(await checks.inputs(model))
    spread = {name: array.std(axis=0) if model == "codec_synthesis" else 1.0 for name, array in reference.items()}
    verdict = await checks.judge(
        model,
        precision,
        lambda inputs: {
            name: (array + off_by * spread[name]).astype(np.float32) for name, array in run(inputs).items()
        },
    )
    assert verdict.accepted is accepted, verdict


async def test_latents_that_round_otherwise_are_counted(tiny_repository: Path, checks: PlanChecks) -> None:
    run = runner(load_network(ModelRepository(tiny_repository).model("codec_analysis").path, "codec_analysis"))

    def one_in_a_hundred_moved(inputs: Arrays) -> dict[str, np.ndarray]:
        latents = run(inputs)["latents"].copy()
        latents[:, ::100] += 5
        return {"latents": latents}

    verdict = await checks.judge("codec_analysis", "fp16", one_in_a_hundred_moved)
    assert verdict.figures["equal_latents"] == pytest.approx(1 - 3 / 256, abs=2e-3)
    assert not verdict.accepted


def test_profiles_have_a_shape_for_every_axis(tiny_repository: Path) -> None:
    model = ModelRepository(tiny_repository).model("face_detection_proposal").metadata
    profiles = plan_profiles(model)
    assert [shapes["images"][2][0] for shapes in profiles] == [1, 8]
    least, usual, most = profiles[-1]["images"]
    assert least == (1, 3, 12, 12)
    assert all(low <= middle <= high for low, middle, high in zip(least, usual, most, strict=True))


def test_scales_of_int8_are_taken_from_whole_turns_of_the_pictures() -> None:
    shapes = calibration_shapes({"images": np.zeros((100, 3, 112, 96), np.float32)})
    assert shapes == {"images": (CALIBRATION_ROWS, 3, 112, 96)}


def test_without_tensorrt_the_builder_says_what_to_install() -> None:
    with pytest.raises(SemfaceError, match=r"semface\[tensorrt\]") as caught:
        TensorRTBuilder()
    assert caught.value.reason is Reason.BACKEND_AWAY
