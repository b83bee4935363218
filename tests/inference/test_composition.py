"""An ensemble as one network answers as its networks in turn."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import version_converter

from semface.descriptors import DESCRIPTOR_SIZE, PORTION_SLICES, Portion
from semface.errors import Reason, SemfaceError
from semface.inference.composition import compose, selection_network
from semface.inference.embedded import EmbeddedEngine
from semface.inference.ensembles import EMBED_ENSEMBLE, ENSEMBLES, UNDERSTAND_ENSEMBLE, learned_members, run_steps
from semface.inference.example_inputs import example_inputs
from semface.inference.repository import ModelRepository


@pytest.mark.parametrize("name", ENSEMBLES)
async def test_one_run_answers_bit_for_bit_as_several(tiny_repository: Path, name: str) -> None:
    engine = EmbeddedEngine(tiny_repository, threads=2)
    try:
        inputs = example_inputs(engine.metadata(name), rows=7)
        together, plain = await engine.infer(name, inputs), await run_steps(engine, ENSEMBLES[name], inputs)
    finally:
        await engine.close()
    assert together.keys() == set(ENSEMBLES[name].outputs)
    for output, array in together.items():
        np.testing.assert_array_equal(array, plain[output])


def test_networks_of_different_operator_sets_are_joined(tiny_repository: Path, tmp_path: Path) -> None:
    repository, ensemble = ModelRepository(tiny_repository), ENSEMBLES[EMBED_ENSEMBLE]
    paths = {name: repository.model(name).path for name in learned_members(ensemble)}
    newer = tmp_path / "newer.onnx"
    onnx.save(version_converter.convert_version(onnx.load(paths["codec_synthesis"]), 20), newer)
    latents = np.random.default_rng(0).normal(size=(3, 256)).astype(np.float32)
    answers = [
        ort.InferenceSession(compose(ensemble, networks)).run(["embedding"], {"latents": latents})[0]
        for networks in (paths, {**paths, "codec_synthesis": newer})
    ]
    np.testing.assert_allclose(*answers, atol=1e-6)


async def test_an_ensemble_is_offered_once_all_of_its_networks_are_whole(tiny_repository: Path, tmp_path: Path) -> None:
    repository = shutil.copytree(tiny_repository, tmp_path / "models")
    file = repository / "expression_recognition" / "1" / "model.onnx"
    whole = file.read_bytes()
    file.write_bytes(b"no network")
    engine = EmbeddedEngine(repository)
    try:
        assert await engine.offers(EMBED_ENSEMBLE)
        assert not await engine.offers(UNDERSTAND_ENSEMBLE)
        with pytest.raises(SemfaceError) as caught:
            await engine.infer(UNDERSTAND_ENSEMBLE, {"latents": np.zeros((1, 256), np.float32)})
        assert caught.value.reason is Reason.MODEL_LOADING
        file.write_bytes(whole)
        assert await engine.offers(UNDERSTAND_ENSEMBLE)
        assert not await engine.offers("dream")
    finally:
        await engine.close()


def test_the_selection_network_takes_the_columns_of_each_portion() -> None:
    descriptors = np.random.default_rng(0).normal(size=(5, DESCRIPTOR_SIZE)).astype(np.float32)
    session = ort.InferenceSession(selection_network(), providers=["CPUExecutionProvider"])
    identity, expression = session.run(["identity", "expression"], {"descriptors": descriptors})
    np.testing.assert_array_equal(identity, descriptors[:, PORTION_SLICES[Portion.IDENTITY]])
    np.testing.assert_array_equal(expression, descriptors[:, PORTION_SLICES[Portion.EXPRESSION]])
