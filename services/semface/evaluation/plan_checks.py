"""Whether a network in another form (a TensorRT plan) still gives the answers of its ONNX file.

Judged on crops of real faces. Nobody labels them, so that answers are within a tenth of a point is held in a stricter
form: at most one answer in a thousand may change at all.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from semface.codec.core import Codec
from semface.codec.prior import ANALYSIS_MODEL, SYNTHESIS_MODEL, Latents
from semface.descriptors import PORTION_SLICES, Descriptors, Portion
from semface.extraction.core import DESCRIPTION_MODEL
from semface.inference.engine import Arrays, Engine, ModelMetadata, Work, join_rows, split_rows
from semface.inference.workers import LoopWorker
from semface.meaning import DEFAULT_OPERATING_POINT
from semface.understanding.core import EXPRESSION_MODEL, Understanding

LEAST_EQUAL_LATENTS: Final = 0.995
MOST_CHANGED_ANSWERS: Final = 0.001
MOST_SCORE_ERROR: Final = 0.01
"""Largest change of what a detection network tells, in its own units."""

SYNTHESIS_ERRORS: Final = {"fp32": 1e-3, "fp16": 1e-3, "int8": 1e-2}
"""Largest error of g_s by precision, in standard deviations of each descriptor."""

Result = TypeVar("Result")
Crops = NDArray[np.uint8]


class SubstitutedEngine:
    """An engine that runs one network otherwise than the engine below it."""

    def __init__(self, below: Engine, model: str, run: Any) -> None:
        """Answer for ``model`` with ``run``, a function from arrays to arrays; for every other with ``below``."""
        self._below = below
        self._model = model
        self._run = run

    @property
    def name(self) -> str:
        """See :meth:`semface.inference.engine.Engine.name`."""
        return self._below.name

    async def infer(self, model: str, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """See :meth:`semface.inference.engine.Engine.infer`."""
        if model != self._model:
            return await self._below.infer(model, inputs)
        parts = split_rows(inputs, self.metadata(model).max_batch_size)
        return join_rows([self._run(part) for part in parts])

    async def work_through(self, work: Work[Result]) -> Result:
        """See :meth:`semface.inference.engine.Engine.work_through`."""
        return await work(LoopWorker(self))

    async def ready(self, model: str) -> bool:
        """See :meth:`semface.inference.engine.Engine.ready`."""
        return await self._below.ready(model)

    def metadata(self, model: str) -> ModelMetadata:
        """See :meth:`semface.inference.engine.Engine.metadata`."""
        return self._below.metadata(model)

    async def offers(self, ensemble: str) -> bool:
        """See :meth:`semface.inference.engine.Engine.offers`."""
        return False

    async def close(self) -> None:
        """Leave the engine below as it is."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was measured of a network in another form, and why it must not be published; empty when it may."""

    figures: dict[str, float]
    faults: tuple[str, ...]

    @property
    def accepted(self) -> bool:
        """Whether it may be published."""
        return not self.faults


class PlanChecks:
    """Judges networks in another form against those of ``engine``, on crops uint8 (N, 112, 112, 3) of real faces."""

    def __init__(self, engine: Engine, repository: Path, crops: Crops) -> None:
        """Keep what the engine's own networks make of ``crops`` once it is first needed."""
        self._engine = engine
        self._repository = repository
        self._crops = crops

    async def inputs(self, model: str) -> Arrays:
        """Return what ``model`` is given on its way from the crops to the answers; also good to calibrate with."""
        if model == DESCRIPTION_MODEL:
            return {"crops": self._crops}
        if model.startswith("face_detection"):
            return {"images": _pictures(self._crops, self._engine.metadata(model).inputs[0].shape[-1])}
        descriptors = await self._described(self._engine)
        if model == ANALYSIS_MODEL:
            return {"descriptors": descriptors}
        if model == SYNTHESIS_MODEL:
            return {"latents": await self._dequantised(descriptors)}
        portion = Portion.EXPRESSION if model == EXPRESSION_MODEL else Portion.IDENTITY
        return {"descriptors": _columns(await self._received(self._engine, descriptors), portion)}

    async def judge(self, model: str, precision: str, run: Any) -> Verdict:
        """Return how ``run``, a function from arrays to arrays, does in place of ``model`` at ``precision``."""
        candidate = SubstitutedEngine(self._engine, model, run)
        inputs = await self.inputs(model)
        ours, theirs = await self._engine.infer(model, inputs), await candidate.infer(model, inputs)
        if not all(np.isfinite(array).all() for array in theirs.values()):
            return Verdict({}, ("answers are not finite",))
        figures, faults = {"maximum_error": _largest_error(ours, theirs)}, []
        if model.startswith("face_detection"):
            if figures["maximum_error"] > MOST_SCORE_ERROR:
                faults.append(f"answers are off by up to {figures['maximum_error']:.3g}, above {MOST_SCORE_ERROR}")
            return Verdict(figures, tuple(faults))
        if model == ANALYSIS_MODEL:
            figures["equal_latents"] = self._equal_share(ours["latents"], theirs["latents"])
            if figures["equal_latents"] < LEAST_EQUAL_LATENTS:
                faults.append(f"only {figures['equal_latents']:.4f} of the latents are equal")
        if model == SYNTHESIS_MODEL:
            spread = np.maximum(ours["descriptors"].std(axis=0), 1e-6)
            error = float((np.abs(ours["descriptors"] - theirs["descriptors"]) / spread).max())
            figures["maximum_error_deviations"] = error
            if error > SYNTHESIS_ERRORS[precision]:
                faults.append(f"descriptors are off by up to {error:.3g} standard deviations")
        figures["changed_answers"] = await self._changed_answers(candidate)
        if figures["changed_answers"] > MOST_CHANGED_ANSWERS:
            faults.append(f"{figures['changed_answers']:.4f} of the answers change")
        return Verdict(figures, tuple(faults))

    async def _described(self, engine: Engine) -> Descriptors:
        return (await engine.infer(DESCRIPTION_MODEL, {"crops": self._crops}))["descriptors"]

    async def _received(self, engine: Engine, descriptors: Descriptors) -> Descriptors:
        codec = Codec(engine, self._repository)
        return np.array([face.descriptors for face in await codec.decode(await codec.encode(descriptors))], np.float32)

    async def _dequantised(self, descriptors: Descriptors) -> Latents:
        codec = Codec(self._engine, self._repository)
        latents, _ = await codec.read(await codec.encode(descriptors))
        return latents

    def _equal_share(self, ours: Latents, theirs: Latents) -> float:
        """Return the share of the integers that the default quality codes which are equal."""
        prior = Codec(self._engine, self._repository).default_quality
        equal = [part.quantise(ours) == part.quantise(theirs) for part in prior.portions.values()]
        return float(np.concatenate([array.ravel() for array in equal]).mean())

    async def _changed_answers(self, candidate: Engine) -> float:
        """Return the larger of the shares of expressions and of decisions on two faces that are not the same."""
        first, second = await self._answers(self._engine), await self._answers(candidate)
        return max(float((ours != theirs).mean()) for ours, theirs in zip(first, second, strict=True))

    async def _answers(self, engine: Engine) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Return the leading expression of each crop, and whether it is taken for the same person as the next."""
        understanding = Understanding(engine)
        received = await self._received(engine, await self._described(engine))
        leading = (await understanding.expressions(received)).argmax(axis=1)
        embeddings = await understanding.embeddings(received)
        # Embeddings have length one, so that the product is the cosine.
        return leading, (embeddings[:-1] * embeddings[1:]).sum(axis=1) >= understanding.threshold(
            DEFAULT_OPERATING_POINT
        )


def _largest_error(ours: Arrays, theirs: Arrays) -> float:
    return max(float(np.abs(ours[name].astype(np.float64) - theirs[name]).max()) for name in ours)


def _columns(descriptors: Descriptors, portion: Portion) -> Descriptors:
    return np.ascontiguousarray(descriptors[:, PORTION_SLICES[portion]])


def _pictures(crops: Crops, side: int) -> NDArray[np.float32]:
    """Return the crops as a detection network sees pictures, of ``side`` pixels where it has a size of its own."""
    if side > 0:
        crops = np.stack([np.asarray(Image.fromarray(crop).resize((side, side))) for crop in crops])
    return ((crops.transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / 128).astype(np.float32)
