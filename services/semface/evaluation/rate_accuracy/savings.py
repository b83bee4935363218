"""Bits that ours saves at equal accuracy against each baseline, over the accuracies that both reach."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from semface.evaluation.rate_accuracy.bjontegaard import rate_saving
from semface.evaluation.rate_accuracy.points import RateAccuracyPoint
from semface.evaluation.rate_accuracy.ways import SYSTEM

Series = dict[tuple[str, str], list[RateAccuracyPoint]]
"""Points of one task by system and variant, those that code nothing left out."""

COUNTED: Final = ("data_bits", "bits")
"""What is counted of the baseline: its picture data alone, or everything. Of ours everything, always."""


@dataclass(frozen=True, slots=True)
class Saving:
    """Share of bits saved (negative: more are taken), None where the curves reach no common accuracy."""

    task: str
    ours: str
    system: str
    variant: str
    counted: str
    saving: float | None
    lowest: float | None
    """Accuracies, 0 to 1, over which it is the mean."""
    highest: float | None

    def as_dict(self) -> dict[str, str | float | None]:
        """Return the figures by name."""
        return asdict(self)


def series_of(points: Sequence[RateAccuracyPoint], task: str) -> Series:
    """Return the coded points of ``task`` by system and variant, in the order in which they were measured."""
    series: Series = {}
    for point in points:
        if point.task == task and point.bits is not None:
            series.setdefault((point.system, point.variant), []).append(point)
    return series


def rate_savings(points: Sequence[RateAccuracyPoint]) -> list[Saving]:
    """Return what each variant of ours saves against each baseline of its task."""
    savings = []
    for task in dict.fromkeys(point.task for point in points):
        series = series_of(points, task)
        for (system, ours), own in series.items():
            if system != SYSTEM:
                continue
            curve = [(point.bits or 0.0, point.accuracy) for point in own]
            for (other, variant), theirs in series.items():
                if other == SYSTEM:
                    continue
                for counted in COUNTED:
                    against = [(getattr(point, counted), point.accuracy) for point in theirs]
                    found = rate_saving(curve, against)
                    figures = (None, None, None) if found is None else (found.saving, found.lowest, found.highest)
                    savings.append(Saving(task, ours, other, variant, counted, *figures))
    return savings
