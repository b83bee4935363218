"""Chains of networks that an engine runs in one call: a Triton server saves hops by it, the embedded engine runs."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from semface.descriptors import PORTION_SLICES, Portion
from semface.inference.engine import Arrays, Engine, ModelMetadata, TensorMetadata
from semface.inference.repository import ModelRepository

SELECTION_MODEL: Final = "portion_selection"
"""A network without weights: descriptors [N, 257] to their identity [N, 160] and expression [N, 70] columns."""

ENCODE_ENSEMBLE: Final = "encode"
"""Crops [N, 112, 112, 3] to descriptors [N, 257], quality [N, 1] and latents [N, 256]."""

RECOGNISE_ENSEMBLE: Final = "recognise"
"""Latents [N, 256] to confidences [N, 8]."""

EMBED_ENSEMBLE: Final = "embed"
"""Latents [N, 256] to embedding [N, 512]."""

UNDERSTAND_ENSEMBLE: Final = "understand"
"""Latents [N, 256] to confidences [N, 8] and embedding [N, 512]."""


@dataclass(frozen=True, slots=True)
class Step:
    """One network of an ensemble: each of its tensors to the ensemble's name for it."""

    model: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Ensemble:
    """A chain of networks. ``inputs`` and ``outputs`` are names that its steps use."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    steps: tuple[Step, ...]


def _step(model: str, inputs: dict[str, str], outputs: dict[str, str]) -> Step:
    return Step(model, MappingProxyType(inputs), MappingProxyType(outputs))


def _selected(*portions: str) -> tuple[Step, Step]:
    """Return the steps from latents to the columns of ``portions``."""
    return (
        _step("codec_synthesis", {"latents": "latents"}, {"descriptors": "decoded"}),
        _step(SELECTION_MODEL, {"descriptors": "decoded"}, {portion: portion for portion in portions}),
    )


_RECOGNITION: Final = _step("expression_recognition", {"descriptors": "expression"}, {"confidences": "confidences"})
_VERIFICATION: Final = _step("face_verification", {"descriptors": "identity"}, {"embedding": "embedding"})

ENSEMBLES: Final = MappingProxyType(
    {
        ensemble.name: ensemble
        for ensemble in (
            Ensemble(
                ENCODE_ENSEMBLE,
                ("crops",),
                ("descriptors", "quality", "latents"),
                (
                    _step(
                        "descriptor_extraction",
                        {"crops": "crops"},
                        {"descriptors": "descriptors", "quality": "quality"},
                    ),
                    _step("codec_analysis", {"descriptors": "descriptors"}, {"latents": "latents"}),
                ),
            ),
            Ensemble(RECOGNISE_ENSEMBLE, ("latents",), ("confidences",), (*_selected("expression"), _RECOGNITION)),
            Ensemble(EMBED_ENSEMBLE, ("latents",), ("embedding",), (*_selected("identity"), _VERIFICATION)),
            Ensemble(
                UNDERSTAND_ENSEMBLE,
                ("latents",),
                ("confidences", "embedding"),
                (*_selected("identity", "expression"), _RECOGNITION, _VERIFICATION),
            ),
        )
    }
)
"""Every ensemble by its name."""

SELECTED_PORTIONS: Final = MappingProxyType({"identity": Portion.IDENTITY, "expression": Portion.EXPRESSION})
"""Each output of the selection network to the portion that it holds."""


def members(ensemble: Ensemble) -> set[str]:
    """Return the names of the networks that ``ensemble`` is made of."""
    return {step.model for step in ensemble.steps}


def learned_members(ensemble: Ensemble) -> list[str]:
    """Return the names of those that have a file in the repository, sorted."""
    return sorted(members(ensemble) - {SELECTION_MODEL})


async def run_steps(engine: Engine, ensemble: Ensemble, inputs: Arrays) -> dict[str, NDArray[Any]]:
    """Return every tensor of ``ensemble`` by its name, made of ``inputs`` by a plain call for each step."""
    tensors = dict(inputs)
    for step in ensemble.steps:
        given = {own: tensors[name] for own, name in step.inputs.items()}
        if step.model == SELECTION_MODEL:
            columns = given["descriptors"]
            made = {
                name: np.ascontiguousarray(columns[:, PORTION_SLICES[portion]])
                for name, portion in SELECTED_PORTIONS.items()
            }
        else:
            made = await engine.infer(step.model, given)
        tensors |= {name: made[own] for own, name in step.outputs.items()}
    return tensors


def ensemble_metadata(repository: ModelRepository, ensemble: Ensemble) -> ModelMetadata:
    """Return what ``ensemble`` is when made of the networks of ``repository``; its hash is that of theirs.

    Raises MODEL_UNKNOWN and MODEL_LOADING as reading a network does.
    """
    networks = {name: repository.model(name).metadata for name in learned_members(ensemble)}
    tensors: dict[str, TensorMetadata] = {}
    for step in ensemble.steps:
        if step.model in networks:
            model = networks[step.model]
            for told, names in ((model.inputs, step.inputs), (model.outputs, step.outputs)):
                tensors |= {names[t.name]: replace(t, name=names[t.name]) for t in told}
    return ModelMetadata(
        name=ensemble.name,
        version="1",
        hash=hashlib.sha256("".join(model.hash for model in networks.values()).encode()).hexdigest(),
        inputs=tuple(tensors[name] for name in ensemble.inputs),
        outputs=tuple(tensors[name] for name in ensemble.outputs),
        max_batch_size=min(model.max_batch_size for model in networks.values()),
        parameters=MappingProxyType({}),
    )
