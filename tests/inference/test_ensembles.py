"""Ensembles on a real Triton server give the answers of plain calls."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from tritonclient.grpc.aio import InferenceServerClient

from semface.descriptors import PORTION_SLICES, Portion
from semface.errors import SemfaceError
from semface.evaluation.plan_checks import SubstitutedEngine
from semface.inference.checking import compare_ensemble
from semface.inference.cpu_server import CpuServer
from semface.inference.embedded import EmbeddedEngine
from semface.inference.engine import Arrays, ModelMetadata, row_count
from semface.inference.ensembles import ENCODE_ENSEMBLE, ENSEMBLES, UNDERSTAND_ENSEMBLE, ensemble_metadata
from semface.inference.repository import ModelRepository
from semface.inference.triton import TritonEngine


@pytest.fixture
async def engine(triton_server: CpuServer, tiny_repository: Path) -> AsyncIterator[TritonEngine]:
    opened = TritonEngine(triton_server.address, tiny_repository)
    yield opened
    await opened.close()


async def executions(server: CpuServer, model: str) -> int:
    async with InferenceServerClient(server.address) as client:
        return int((await client.get_inference_statistics(model)).model_stats[0].inference_count)


def nothing(model: ModelMetadata, rows: int) -> Arrays:
    return {tensor.name: np.zeros((rows, *tensor.shape), tensor.dtype) for tensor in model.outputs}


@pytest.mark.slow
async def test_understanding_in_one_call_is_that_of_three(triton_server: CpuServer, engine: TritonEngine) -> None:
    latents = np.random.default_rng(1).normal(size=(7, 256)).astype(np.float32)
    assert await engine.offers(UNDERSTAND_ENSEMBLE)
    before = await executions(triton_server, UNDERSTAND_ENSEMBLE)
    together = await engine.infer(UNDERSTAND_ENSEMBLE, {"latents": latents})
    assert await executions(triton_server, UNDERSTAND_ENSEMBLE) == before + len(latents)
    descriptors = (await engine.infer("codec_synthesis", {"latents": latents}))["descriptors"]
    for model, portion, output in (
        ("expression_recognition", Portion.EXPRESSION, "confidences"),
        ("face_verification", Portion.IDENTITY, "embedding"),
    ):
        columns = np.ascontiguousarray(descriptors[:, PORTION_SLICES[portion]])
        plain = await engine.infer(model, {"descriptors": columns})
        np.testing.assert_array_equal(together[output], plain[output])


@pytest.mark.slow
async def test_encoding_from_the_crop_in_one_call_is_that_of_two(engine: TritonEngine) -> None:
    crops = np.random.default_rng(2).integers(0, 256, (5, 112, 112, 3), dtype=np.uint8)
    together = await engine.infer(ENCODE_ENSEMBLE, {"crops": crops})
    plain = await engine.infer("descriptor_extraction", {"crops": crops})
    plain |= await engine.infer("codec_analysis", {"descriptors": plain["descriptors"]})
    assert together.keys() == plain.keys()
    for name, array in plain.items():
        np.testing.assert_array_equal(together[name], array)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENSEMBLES)
async def test_each_ensemble_is_checked_against_plain_calls_in_this_process(
    engine: TritonEngine, tiny_repository: Path, name: str
) -> None:
    embedded = EmbeddedEngine(tiny_repository)
    assert await compare_ensemble(embedded, engine, name) == ""
    last = embedded.metadata(ENSEMBLES[name].steps[-1].model)
    silent = SubstitutedEngine(embedded, last.name, lambda inputs: nothing(last, row_count(inputs)))
    assert "answers differ" in await compare_ensemble(silent, engine, name)
    await embedded.close()


@pytest.mark.slow
async def test_an_ensemble_that_nobody_serves_is_not_offered(engine: TritonEngine) -> None:
    assert not await engine.offers("dream")
    assert await engine.ready(ENCODE_ENSEMBLE)


def test_an_ensemble_is_known_by_all_of_its_networks(tiny_repository: Path, tmp_path: Path) -> None:
    metadata = ensemble_metadata(ModelRepository(tiny_repository), ENSEMBLES[UNDERSTAND_ENSEMBLE])
    assert [(tensor.name, tensor.shape) for tensor in metadata.outputs] == [
        ("confidences", (8,)),
        ("embedding", (512,)),
    ]
    other = ensemble_metadata(ModelRepository(tiny_repository), ENSEMBLES[ENCODE_ENSEMBLE])
    assert metadata.hash != other.hash
    with pytest.raises(SemfaceError):
        ensemble_metadata(ModelRepository(tmp_path), ENSEMBLES[UNDERSTAND_ENSEMBLE])
