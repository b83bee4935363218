import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from semface.errors import Reason, SemfaceError
from semface.inference import open_engine, run_blocking
from semface.inference.embedded import EmbeddedEngine
from tests.inference.networks import add_model


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EmbeddedEngine]:
    """An engine over one network that doubles, in batches of at most four."""
    add_model(tmp_path, "double", more="dynamic_batching { max_queue_delay_microseconds: 500 }")
    started = EmbeddedEngine(tmp_path, threads=2)
    yield started
    await started.close()


@pytest.fixture
async def tiny_engine(tiny_repository: Path) -> AsyncIterator[EmbeddedEngine]:
    """An engine over all networks, small ones beside the real detector."""
    started = EmbeddedEngine(tiny_repository, threads=2)
    yield started
    await started.close()


def noise(model: str, rows: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    if model == "descriptor_extraction":
        return {"crops": random.integers(0, 256, (rows, 112, 112, 3), dtype=np.uint8)}
    side = {"face_detection_proposal": 60, "face_detection_refinement": 24, "face_detection_output": 48}[model]
    return {"images": random.uniform(-1, 1, (rows, 3, side, side)).astype(np.float32)}


@pytest.mark.parametrize(
    "model",
    ["face_detection_proposal", "face_detection_refinement", "face_detection_output", "descriptor_extraction"],
)
async def test_a_picture_alone_gives_the_same_bits_as_among_others(tiny_engine: EmbeddedEngine, model: str) -> None:
    rows = min(32, tiny_engine.metadata(model).max_batch_size)
    inputs = noise(model, rows)
    together = await tiny_engine.infer(model, inputs)
    for row in (0, rows // 2, rows - 1):
        alone = await tiny_engine.infer(model, {name: array[row : row + 1] for name, array in inputs.items()})
        for name, array in alone.items():
            np.testing.assert_array_equal(array[0], together[name][row])


async def test_concurrent_callers_get_what_they_would_get_alone(tiny_engine: EmbeddedEngine) -> None:
    inputs = noise("face_detection_output", 24)["images"]
    parts = np.split(inputs, [1, 3, 4, 9, 10, 17])
    answers = await asyncio.gather(*(tiny_engine.infer("face_detection_output", {"images": part}) for part in parts))
    for part, answer in zip(parts, answers, strict=True):
        alone = await tiny_engine.infer("face_detection_output", {"images": part})
        np.testing.assert_array_equal(answer["landmarks"], alone["landmarks"])


async def test_a_request_beyond_the_batch_size_is_split_and_put_together_again(engine: EmbeddedEngine) -> None:
    x = np.arange(22, dtype=np.float32).reshape(11, 2)
    answer = await engine.infer("double", {"x": x})
    np.testing.assert_array_equal(answer["y"], 2 * x)


async def test_many_callers_at_once_each_get_their_own_rows(engine: EmbeddedEngine) -> None:
    requests = [np.full((1 + index % 6, 3), index, np.float32) for index in range(200)]
    answers = await asyncio.gather(*(engine.infer("double", {"x": x}) for x in requests))
    for x, answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(answer["y"], 2 * x)


async def test_a_caller_that_changes_its_answer_changes_nobody_elses(engine: EmbeddedEngine) -> None:
    first, second = await asyncio.gather(
        *(engine.infer("double", {"x": np.full((1, 3), value, np.float32)}) for value in (1, 2))
    )
    first["y"][:] = 99
    np.testing.assert_array_equal(second["y"], np.full((1, 3), 4, np.float32))


async def test_callers_that_give_up_leave_the_engine_working(engine: EmbeddedEngine) -> None:
    x = np.ones((1, 3), np.float32)
    callers = [asyncio.create_task(engine.infer("double", {"x": x})) for _ in range(50)]
    await asyncio.sleep(0)
    for caller in callers[::2]:
        caller.cancel()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])
    assert all(np.array_equal(answer["y"], 2 * x) for answer in answers[1::2])  # type: ignore[call-overload,index]


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"z": np.ones((1, 3), np.float32)},
        {"x": np.ones((1, 3), np.float64)},
        {"x": np.ones((1, 3, 3), np.float32)},
        {"x": np.ones((0, 3), np.float32)},
    ],
    ids=["nothing", "another name", "another type", "another shape", "no rows"],
)
async def test_inputs_that_do_not_fit_are_refused_before_they_join_a_batch(
    engine: EmbeddedEngine, inputs: dict[str, np.ndarray]
) -> None:
    with pytest.raises(ValueError, match="double"):
        await engine.infer("double", inputs)


async def test_an_unknown_model_is_told_as_such(engine: EmbeddedEngine) -> None:
    with pytest.raises(SemfaceError) as caught:
        await engine.infer("triple", {"x": np.ones((1, 3), np.float32)})
    assert caught.value.reason is Reason.MODEL_UNKNOWN
    assert not await engine.ready("triple")


async def test_a_damaged_network_is_not_ready_and_the_others_still_run(tmp_path: Path, engine: EmbeddedEngine) -> None:
    add_model(tmp_path, "broken").write_bytes(b"no network")
    with pytest.raises(SemfaceError) as caught:
        await engine.infer("broken", {"x": np.ones((1, 3), np.float32)})
    assert caught.value.reason is Reason.MODEL_LOADING
    assert not await engine.ready("broken")
    assert await engine.ready("double")


def test_one_engine_serves_several_event_loops(tmp_path: Path) -> None:
    add_model(tmp_path, "double")
    engine = EmbeddedEngine(tmp_path)
    x = np.ones((1, 2), np.float32)
    for _ in range(2):
        np.testing.assert_array_equal(asyncio.run(engine.infer("double", {"x": x}))["y"], 2 * x)
        np.testing.assert_array_equal(run_blocking(engine.infer("double", {"x": x}))["y"], 2 * x)
    run_blocking(engine.close())


async def test_settings_choose_the_engine(tmp_path: Path) -> None:
    engine = open_engine(SimpleNamespace(inference="embedded", model_repository=tmp_path))
    assert isinstance(engine, EmbeddedEngine)
    await engine.close()


@pytest.mark.parametrize(("inference", "told"), [("grpc://triton:8001", "not there yet"), ("cloud", "must be")])
def test_an_engine_that_is_not_there_is_refused_clearly(tmp_path: Path, inference: str, told: str) -> None:
    with pytest.raises(SemfaceError, match=told) as caught:
        open_engine(SimpleNamespace(inference=inference, model_repository=tmp_path))
    assert caught.value.reason is Reason.FIELD_INVALID


async def test_a_small_network_answers_one_face_without_waiting_for_a_thread(tiny_engine: EmbeddedEngine) -> None:
    faces = np.random.default_rng(1).normal(size=(300, 257)).astype(np.float32)
    together = await tiny_engine.infer("codec_analysis", {"descriptors": faces})
    with pytest.raises(StopIteration) as answered:
        tiny_engine.infer("codec_analysis", {"descriptors": faces[:1]}).send(None)
    np.testing.assert_allclose(answered.value.value["latents"], together["latents"][:1], rtol=1e-4, atol=1e-4)
