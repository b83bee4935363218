"""Prometheus' text format, read."""

import re
from collections.abc import Iterator
from typing import Final

_SAMPLE: Final = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)", re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def samples(text: str, name: str) -> Iterator[tuple[dict[str, str], float]]:
    """Yield labels and value of each sample of the series ``name`` in an exposition."""
    for found, labels, value in _SAMPLE.findall(text):
        if found == name:
            yield dict(_LABEL.findall(labels)), float(value)


def total(text: str, name: str, **labels: str) -> float:
    """Return the sum of the samples of ``name`` that have ``labels``."""
    return sum(value for found, value in samples(text, name) if labels.items() <= found.items())
