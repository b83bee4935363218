"""What made an answer: the models that took part and how long each stage took."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from semface.client import Model
from semface.gateway import answers
from semface.tracing.spans import span

MODELS_HEADER = "Semface-Models"


def describe_model(model: Model) -> answers.Model:
    """Return ``model`` as it is told over HTTP."""
    return answers.Model(name=model.name, version=model.version, hash=f"{model.hash:016x}", engine=model.engine or None)


class Provenance:
    """Collects models and milliseconds while an answer is made; ``total`` counts from construction."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._milliseconds: dict[str, float] = {}
        self._models: dict[str, Model] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent in the block to the stage ``name``, which is a span of the trace too."""
        start = time.perf_counter()
        try:
            with span(name):
                yield
        finally:
            spent = (time.perf_counter() - start) * 1000
            self._milliseconds[name] = self._milliseconds.get(name, 0.0) + spent

    def waited(self, milliseconds: float) -> None:
        """Note that a service admitted the call only after ``milliseconds``; they are part of its stage too."""
        self._milliseconds["queue"] = self._milliseconds.get("queue", 0.0) + milliseconds

    def made_by(self, models: Iterable[Model]) -> None:
        """Note that ``models`` took part."""
        self._models |= {model.name: model for model in models}

    @property
    def models(self) -> list[answers.Model]:
        """The models that took part, in the order in which they did."""
        return [describe_model(model) for model in self._models.values()]

    @property
    def milliseconds(self) -> dict[str, float]:
        """Stage to milliseconds, with ``total``."""
        total = (time.perf_counter() - self._start) * 1000
        return {name: round(spent, 3) for name, spent in {**self._milliseconds, "total": total}.items()}

    @property
    def headers(self) -> dict[str, str]:
        """The same for an answer that is no JSON."""
        timing = ", ".join(f"{name};dur={spent}" for name, spent in self.milliseconds.items())
        return {MODELS_HEADER: ", ".join(map(str, self._models.values())), "Server-Timing": timing}
