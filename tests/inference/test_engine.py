"""What every engine promises, on the embedded one and on a real Triton server."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from semface.errors import Reason, SemfaceError
from semface.inference import Engine
from semface.inference.embedded import EmbeddedEngine
from semface.inference.example_inputs import example_inputs
from semface.inference.repository import ModelRepository
from tests.triton_server import BOTH_ENGINES, open_test_engine


@pytest.fixture(params=BOTH_ENGINES)
async def engine(request: pytest.FixtureRequest, engine_repository: Path) -> AsyncIterator[Engine]:
    """Each engine in turn."""
    opened = open_test_engine(request.param, engine_repository, request)
    yield opened
    await opened.close()


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
async def test_a_picture_alone_gives_the_same_bits_as_among_others(engine: Engine, model: str) -> None:
    rows = min(32, engine.metadata(model).max_batch_size)
    inputs = noise(model, rows)
    together = await engine.infer(model, inputs)
    for row in (0, rows // 2, rows - 1):
        alone = await engine.infer(model, {name: array[row : row + 1] for name, array in inputs.items()})
        for name, array in alone.items():
            np.testing.assert_array_equal(array[0], together[name][row])


async def test_concurrent_callers_get_what_they_would_get_alone(engine: Engine) -> None:
    inputs = noise("face_detection_output", 24)["images"]
    parts = np.split(inputs, [1, 3, 4, 9, 10, 17])
    answers = await asyncio.gather(*(engine.infer("face_detection_output", {"images": part}) for part in parts))
    for part, answer in zip(parts, answers, strict=True):
        alone = await engine.infer("face_detection_output", {"images": part})
        np.testing.assert_array_equal(answer["landmarks"], alone["landmarks"])


async def test_a_request_beyond_the_batch_size_is_split_and_put_together_again(engine: Engine) -> None:
    x = np.arange(22, dtype=np.float32).reshape(11, 2)
    answer = await engine.infer("double", {"x": x})
    np.testing.assert_array_equal(answer["y"], 2 * x)


async def test_many_callers_at_once_each_get_their_own_rows(engine: Engine) -> None:
    requests = [np.full((1 + index % 6, 3), index, np.float32) for index in range(200)]
    answers = await asyncio.gather(*(engine.infer("double", {"x": x}) for x in requests))
    for x, answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(answer["y"], 2 * x)


async def test_a_caller_that_changes_its_answer_changes_nobody_elses(engine: Engine) -> None:
    first, second = await asyncio.gather(
        *(engine.infer("double", {"x": np.full((1, 3), value, np.float32)}) for value in (1, 2))
    )
    first["y"][:] = 99
    np.testing.assert_array_equal(second["y"], np.full((1, 3), 4, np.float32))


async def test_callers_that_give_up_leave_the_engine_working(engine: Engine) -> None:
    # More rows than run at once: who asks for one row of a small network is answered before it can give up.
    x = np.ones((11, 3), np.float32)
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
    engine: Engine, inputs: dict[str, np.ndarray]
) -> None:
    with pytest.raises(ValueError, match="double"):
        await engine.infer("double", inputs)


async def test_an_unknown_model_is_told_as_such(engine: Engine) -> None:
    with pytest.raises(SemfaceError) as caught:
        await engine.infer("triple", {"x": np.ones((1, 3), np.float32)})
    assert caught.value.reason is Reason.MODEL_UNKNOWN
    assert not await engine.ready("triple")


async def test_every_network_is_ready_once_it_has_answered(engine: Engine, engine_repository: Path) -> None:
    for name in set(ModelRepository(engine_repository).names()) - {"sleeping"}:
        assert await engine.ready(name)


async def test_answers_are_those_of_the_embedded_engine_bit_for_bit(engine: Engine, engine_repository: Path) -> None:
    embedded = EmbeddedEngine(engine_repository, threads=1)
    for name in set(ModelRepository(engine_repository).names()) - {"sleeping"}:
        model = engine.metadata(name)
        for rows in sorted({1, 3, model.max_batch_size}):
            inputs = example_inputs(model, rows)
            ours, theirs = await engine.infer(name, inputs), await embedded.infer(name, inputs)
            for key, array in theirs.items():
                assert ours[key].dtype == array.dtype
                np.testing.assert_array_equal(ours[key], array)
    await embedded.close()
