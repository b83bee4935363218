"""TensorRT plans that may be served: built, checked on real faces, and only then put into the repository."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from semface.errors import SemfaceError
from semface.evaluation.plan_checks import PlanChecks, Verdict
from semface.inference.derived_repository import (
    PLAN_FILE,
    build_repository,
    derived_config,
    write_manifest,
    write_model,
)
from semface.inference.repository import ModelRepository
from semface.inference.target import Target
from semface.inference.tensorrt_plans import PlanBuilder, Precision, plan_folder, plan_profiles
from semface.recognisers import DEFAULT_RECOGNISER, RECOGNISERS

PRECISIONS: Final = (Precision.INT8, Precision.FP16)
"""Tried in this order: the first whose answers hold is published."""

Told = Callable[[str, str], None]
"""Hears of each network by its name, and of what became of it."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What is served of one network: a plan in ``precision``, or where that is None its ONNX file."""

    precision: Precision | None
    verdicts: dict[Precision, Verdict]

    def as_dict(self) -> dict[str, Any]:
        """Return it as the manifest of the repository tells it."""
        return {
            "served": "onnx" if self.precision is None else self.precision.value,
            "tried": {
                precision.value: {**verdict.figures, "faults": list(verdict.faults)}
                for precision, verdict in self.verdicts.items()
            },
        }


async def publish_plans(
    source: ModelRepository,
    output: Path,
    cache: Path,
    builder: PlanBuilder,
    checks: PlanChecks,
    precisions: Sequence[Precision] = PRECISIONS,
    told: Told = lambda name, outcome: None,
) -> dict[str, Publication]:
    """Write the repository of target ``tensorrt`` into ``output`` with a plan for every network whose answers hold.

    A network whose plans all fail is served from its ONNX file by the ONNX Runtime backend, and so are the recognisers
    that do not look at what travels, whose answers the checks do not know. Plans are kept in ``cache``
    by GPU, TensorRT version, network and precision, and checked each time. Raises what ``build_repository`` raises.
    """
    build_repository(source, output, Target.TENSORRT)
    published = {}
    for name in source.names():
        publication = await _publish(source, name, output, cache, builder, checks, precisions)
        published[name] = publication
        told(name, "onnx" if publication.precision is None else publication.precision.value)
    engines = {name: publication.as_dict() for name, publication in published.items()}
    write_manifest(output, Target.TENSORRT, {"gpu": builder.gpu, "tensorrt": builder.version, "models": engines})
    return published


async def _publish(
    source: ModelRepository,
    name: str,
    output: Path,
    cache: Path,
    builder: PlanBuilder,
    checks: PlanChecks,
    precisions: Sequence[Precision],
) -> Publication:
    model, verdicts = source.model(name), dict[Precision, Verdict]()
    judged = name not in RECOGNISERS or RECOGNISERS[name] is DEFAULT_RECOGNISER
    for precision in precisions if judged else ():
        kept = plan_folder(cache, builder) / f"{name}-{model.metadata.hash[:16]}-{precision}.plan"
        try:
            if not kept.is_file():
                plan = builder.build(model.path, plan_profiles(model.metadata), precision, await checks.inputs(name))
                _keep(kept, plan)
            verdicts[precision] = await checks.judge(name, precision.value, builder.load(kept.read_bytes()))
        except (SemfaceError, RuntimeError) as error:
            verdicts[precision] = Verdict({}, (f"cannot be built or run: {error}",))
        if verdicts[precision].accepted:
            target = output / name / model.metadata.version / PLAN_FILE
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(kept.read_bytes())
            return Publication(precision, verdicts)
    write_model(output, derived_config(source, name, Target.ONNXRUNTIME), model.path, Target.ONNXRUNTIME)
    return Publication(None, verdicts)


def _keep(path: Path, plan: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(plan)
    unfinished.replace(path)
