import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from semface.errors import Reason, SemfaceError
from semface.inference import open_engine, run_blocking
from semface.inference.embedded import EmbeddedEngine
from semface.inference.triton import TritonEngine
from tests.inference.networks import add_leaking_model, add_model


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


@pytest.mark.parametrize(
    ("inference", "kind"),
    [("embedded", EmbeddedEngine), ("grpc://triton:8001", TritonEngine), ("grpc://[::1]:8001", TritonEngine)],
)
async def test_settings_choose_the_engine(tmp_path: Path, inference: str, kind: type) -> None:
    engine = open_engine(SimpleNamespace(inference=inference, model_repository=tmp_path))
    assert isinstance(engine, kind)
    await engine.close()


@pytest.mark.parametrize(
    "inference",
    [
        "cloud",
        "grpc://",
        "grpc://triton",
        "grpc://triton:0",
        "grpc://triton:99999",
        "grpc://triton:8001/v2",
        "grpc://me:secret@triton:8001",
        "http://triton:8000",
    ],
)
def test_an_engine_that_cannot_be_is_refused_clearly(tmp_path: Path, inference: str) -> None:
    with pytest.raises(SemfaceError, match="grpc://host:port") as caught:
        open_engine(SimpleNamespace(inference=inference, model_repository=tmp_path))
    assert caught.value.reason is Reason.FIELD_INVALID


async def test_a_small_network_answers_one_face_without_waiting_for_a_thread(tiny_engine: EmbeddedEngine) -> None:
    faces = np.random.default_rng(1).normal(size=(300, 257)).astype(np.float32)
    together = await tiny_engine.infer("codec_analysis", {"descriptors": faces})
    with pytest.raises(StopIteration) as answered:
        tiny_engine.infer("codec_analysis", {"descriptors": faces[:1]}).send(None)
    np.testing.assert_allclose(answered.value.value["latents"], together["latents"][:1], rtol=1e-4, atol=1e-4)


async def test_a_network_whose_configuration_says_so_runs_row_by_row(tmp_path: Path) -> None:
    """Its rows, which are divided by the greatest of their batch, then never meet."""
    add_leaking_model(tmp_path, "together")
    add_leaking_model(tmp_path, "apart")
    config = tmp_path / "apart" / "config.pbtxt"
    config.write_text(config.read_text() + 'parameters { key: "cpu_batch_size" value { string_value: "1" } }')
    engine = EmbeddedEngine(tmp_path, threads=1)
    rows = np.array([[1.0], [2.0], [4.0]], np.float32)
    try:
        together = (await engine.infer("together", {"x": rows}))["y"]
        apart = (await engine.infer("apart", {"x": rows}))["y"]
    finally:
        await engine.close()
    assert together.ravel().tolist() == [0.25, 0.5, 1.0]
    assert apart.ravel().tolist() == [1.0, 1.0, 1.0]
