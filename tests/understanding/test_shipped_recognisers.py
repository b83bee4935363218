"""The recognisers, all of which ship, answer on a real Triton as they do in this process."""

from pathlib import Path

import numpy as np
import pytest

from semface.inference.embedded import EmbeddedEngine
from semface.inference.engine import TRITON_SCHEME
from semface.inference.triton import TritonEngine
from semface.recognisers import RECOGNISERS
from semface.understanding.core import Understanding
from tests.triton_server import running_triton

SHIPPED = Path(__file__).resolve().parents[2] / "model_repository"


@pytest.mark.slow
@pytest.mark.engine
async def test_every_recogniser_answers_on_triton_as_embedded(tmp_path: Path) -> None:
    recognisers = list(RECOGNISERS.values())
    random = np.random.default_rng(5)
    embedded = EmbeddedEngine(SHIPPED, threads=2)
    with running_triton(SHIPPED, tmp_path, models=[recogniser.name for recogniser in recognisers]) as server:
        triton = TritonEngine(server.url.removeprefix(TRITON_SCHEME), SHIPPED)
        for recogniser in recognisers:
            scale = 255 if recogniser.dtype == "uint8" else 1
            views = (random.uniform(size=(3, *recogniser.shape)) * scale).astype(recogniser.dtype)
            here, there = [await Understanding(engine).recognitions(recogniser, views) for engine in (embedded, triton)]
            assert here.keys() == there.keys()
            for name in here:
                np.testing.assert_allclose(there[name], here[name], atol=1e-5, err_msg=f"{recogniser.name} {name}")
            assert np.ptp(here["confidences"], axis=0).max() > 1e-3
        await triton.close()
    await embedded.close()
