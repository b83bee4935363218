"""Frames of a video file, read with PyAV (BSD licence), which comes with the extra ``video``."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from semface.errors import Reason, SemfaceError

FRAMES_PER_SECOND: Final = Fraction(25)
"""What a video that does not say is taken to have."""

MAXIMUM_SIDE: Final = 8192
"""A frame may not be wider or higher, in pixels."""


class Video:
    """An open video file, a context manager."""

    def __init__(self, path: Path) -> None:
        """Open the first video stream of ``path``.

        Raises FIELD_INVALID without PyAV, IMAGE_UNDECODABLE for a file that holds no video, IMAGE_TOO_LARGE for frames
        beyond ``MAXIMUM_SIDE``.
        """
        try:
            import av
        except ModuleNotFoundError:
            message = "reading a video needs PyAV; install it: pip install 'semface[video]'"
            raise SemfaceError(Reason.FIELD_INVALID, message) from None
        self._path, self._failures = path, (av.FFmpegError, OSError, ValueError)
        try:
            self._container: Any = av.open(str(path))
            self._stream = self._container.streams.video[0]
        except (*self._failures, IndexError):
            raise self._undecodable() from None
        if max(self._stream.width, self._stream.height) > MAXIMUM_SIDE:
            self._container.close()
            message = f"{path}: a frame of a video may have {MAXIMUM_SIDE} pixels on a side at most"
            raise SemfaceError(Reason.IMAGE_TOO_LARGE, message)

    @property
    def frames_per_second(self) -> Fraction:
        """The video's own mean rate."""
        return Fraction(self._stream.average_rate or FRAMES_PER_SECOND)

    @property
    def length(self) -> int | None:
        """How many frames the file says it has, None where it does not."""
        return self._stream.frames or None

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """Yield each frame, RGB uint8 (H, W, 3); raises IMAGE_UNDECODABLE where the file is damaged."""
        try:
            for frame in self._container.decode(self._stream):
                yield frame.to_ndarray(format="rgb24")
        except self._failures:
            raise self._undecodable() from None

    def _undecodable(self) -> SemfaceError:
        return SemfaceError(Reason.IMAGE_UNDECODABLE, f"{self._path} is not a video that can be read")

    def __enter__(self) -> Self:
        """Return the video itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._container.close()
