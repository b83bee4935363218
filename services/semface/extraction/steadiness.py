"""One face square for many frames: a detector's box trembles, and every tremble would be coded as motion."""

from typing import Final

from semface.extraction.alignment import Square

REACH: Final = 0.1
"""How far the middle of the detected square may be from that of the held one, as a share of its side."""

GROWTH: Final = 1.12
"""Factor by which the detected square may be larger or smaller than the held one."""


class SteadySquare:
    """Holds the face square of a moving picture still until the face leaves it, then takes the detected one."""

    def __init__(self) -> None:
        """Start without a square."""
        self._held: Square | None = None

    def follow(self, detected: Square | None) -> Square | None:
        """Return the square to look at, given the one ``detected`` in this frame; None before the first face."""
        if detected is not None and (self._held is None or not _near(detected, self._held)):
            self._held = detected
        return self._held


def _near(detected: Square, held: Square) -> bool:
    middle = [(a + detected[2] / 2) - (b + held[2] / 2) for a, b in zip(detected[:2], held[:2], strict=True)]
    grown = max(detected[2] / held[2], held[2] / detected[2])
    return max(map(abs, middle)) <= REACH * held[2] and grown <= GROWTH
