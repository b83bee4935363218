"""Answers about pictures that are kept in a folder as they come, so that a long run goes on where it was cut off."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Answers = Mapping[str, NDArray[np.generic]]
"""Arrays with one row for each picture."""


class KeptAnswers:
    """Rows by stem, in memory and, with a folder, in its files; each file holds what was added at once."""

    def __init__(self, folder: Path | None) -> None:
        """Read what ``folder`` holds, making it if need be; with None nothing outlasts the run."""
        self._folder = folder
        self._places: dict[str, tuple[int, int]] = {}
        self._parts: list[dict[str, NDArray[np.generic]]] = []
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(folder.glob("*.npz")):
                with np.load(path) as kept:
                    self._remember(kept["stems"].tolist(), {name: kept[name] for name in kept if name != "stems"})

    def missing(self, stems: Sequence[str]) -> list[str]:
        """Return those of ``stems`` that have no answer yet."""
        return [stem for stem in stems if stem not in self._places]

    def add(self, stems: Sequence[str], answers: Answers) -> None:
        """Keep the ``answers`` about ``stems``, one row each."""
        if self._folder is not None:
            path = self._folder / f"{len(self._parts):05d}.npz"
            with path.with_suffix(".part").open("wb") as file:
                np.savez(file, allow_pickle=False, stems=np.array(stems), **dict(answers))
            # Renamed when whole: what is cut off here is not read later.
            path.with_suffix(".part").replace(path)
        self._remember(stems, answers)

    def _remember(self, stems: Sequence[str], answers: Answers) -> None:
        for row, stem in enumerate(stems):
            self._places[stem] = len(self._parts), row
        self._parts.append(dict(answers))

    def gather(self, stems: Sequence[str]) -> dict[str, NDArray[np.generic]]:
        """Return the answers about ``stems``, in their order; raises KeyError where one is missing."""
        places = [self._places[stem] for stem in stems]
        names = self._parts[0] if self._parts else {}
        return {name: np.array([self._parts[part][name][row] for part, row in places]) for name in names}
