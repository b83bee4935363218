"""The image codecs to compare with: each picture coded alone, at a fixed quantiser, and decoded again.

VVC by libvvenc in the FFmpeg that ``imageio-ffmpeg`` carries (GPL, run as a program), HEVC by libx265 through PyAV,
AV1 as AVIF and JPEG by Pillow. The first two come with the extra ``baselines``.
"""

import io
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from semface.errors import Reason, SemfaceError
from semface.evaluation.rate_accuracy.bitstreams import (
    avif_data_bits,
    hevc_slice_bits,
    jpeg_scan_bits,
    vvc_slice_bits,
)

Pixels = NDArray[np.uint8]

INSTALL: Final = "run `pip install 'semface[baselines]'`"
VVC_OPTIONS: Final = ("-c:v", "libvvenc", "-preset", "slow", "-qpa", "0", "-threads", "1")
"""Perceptual adaptation off: with it a QP means something else at each picture."""
HEVC_OPTIONS: Final = "aq-mode=0:keyint=1:info=0:log-level=none:pools=none:frame-threads=1:annexb=1:repeat-headers=1"


@dataclass(frozen=True, slots=True)
class CodedPicture:
    """What became of a picture, uint8 RGB (H, W, 3): decoded, its bits, and those of its picture data alone."""

    decoded: Pixels
    total_bits: int
    data_bits: int


class ImageCodec(Protocol):
    """Codes pictures one by one at a quantiser or a quality."""

    @property
    def name(self) -> str:
        """Its name in the report."""

    @property
    def quantiser(self) -> str:
        """What the parameter is called."""

    @property
    def version(self) -> str:
        """The program behind it; raises MODEL_UNKNOWN, saying what to install, where there is none."""

    def code(self, pictures: Sequence[Pixels], parameter: int) -> list[CodedPicture]:
        """Code and decode each of ``pictures``, uint8 RGB, all of one size (H, W, 3)."""


class VvcCodec:
    """H.266/VVC by libvvenc: one intra picture, 4:2:0, fixed QP (0 to 63)."""

    name = "VVC"
    quantiser = "QP"

    @property
    def version(self) -> str:
        """The FFmpeg that carries libvvenc."""
        done = _run([self._program(), "-version"])
        return f"libvvenc in FFmpeg {done.decode().split()[2]}"

    def code(self, pictures: Sequence[Pixels], parameter: int) -> list[CodedPicture]:
        """Code each picture in a process of its own; all are decoded in one, for each begins anew."""
        height, width = pictures[0].shape[:2]
        program = self._program()
        raw = ("-f", "rawvideo", "-pix_fmt", "rgb24")
        streams = []
        for picture in pictures:
            even = _even(picture)
            size = f"{even.shape[1]}x{even.shape[0]}"
            options = ("-pix_fmt", "yuv420p", *VVC_OPTIONS, "-qp", str(parameter), "-f", "vvc", "-")
            command = [program, "-v", "error", *raw, "-s", size, "-i", "-", *options]
            streams.append(_run(command, even.tobytes()))
        decoded = _run([program, "-v", "error", "-f", "vvc", "-i", "-", *raw, "-"], b"".join(streams))
        shape = (len(pictures), height + height % 2, width + width % 2, 3)
        frames = np.frombuffer(decoded, np.uint8).reshape(shape)[:, :height, :width]
        return [
            CodedPicture(frame, 8 * len(stream), vvc_slice_bits(stream))
            for frame, stream in zip(frames, streams, strict=True)
        ]

    @staticmethod
    def _program() -> str:
        try:
            import imageio_ffmpeg

            return imageio_ffmpeg.get_ffmpeg_exe()
        except (ImportError, RuntimeError):
            raise SemfaceError(Reason.MODEL_UNKNOWN, f"VVC needs imageio-ffmpeg; {INSTALL}") from None


class HevcCodec:
    """H.265/HEVC by libx265: one intra picture, 4:2:0, fixed QP (0 to 51)."""

    name = "HEVC"
    quantiser = "QP"

    @property
    def version(self) -> str:
        """The PyAV that carries libx265."""
        return f"libx265 in PyAV {self._library().__version__}"

    def code(self, pictures: Sequence[Pixels], parameter: int) -> list[CodedPicture]:
        """Code and decode each picture with an encoder of its own."""
        return [self._code(picture, parameter) for picture in pictures]

    def _code(self, picture: Pixels, parameter: int) -> CodedPicture:
        av, even = self._library(), _even(picture)
        encoder = av.CodecContext.create("libx265", "w")
        encoder.height, encoder.width = even.shape[:2]
        encoder.pix_fmt, encoder.time_base, encoder.framerate = "yuv420p", Fraction(1, 25), Fraction(25)
        encoder.options = {"preset": "slow", "x265-params": f"qp={parameter}:{HEVC_OPTIONS}"}
        frame = av.VideoFrame.from_ndarray(even, format="rgb24").reformat(format="yuv420p")
        frame.pts = 0
        stream = b"".join(bytes(packet) for packet in (*encoder.encode(frame), *encoder.encode(None)))
        decoder = av.CodecContext.create("hevc", "r")
        packets = [*decoder.parse(stream), *decoder.parse(None), None]
        (decoded,) = [frame for packet in packets for frame in decoder.decode(packet)]
        pixels = decoded.to_ndarray(format="rgb24")[: picture.shape[0], : picture.shape[1]]
        return CodedPicture(pixels, 8 * len(stream), hevc_slice_bits(stream))

    @staticmethod
    def _library() -> Any:
        try:
            import av
        except ImportError:
            raise SemfaceError(Reason.MODEL_UNKNOWN, f"HEVC needs PyAV; {INSTALL}") from None
        return av


class AvifCodec:
    """AV1 as an AVIF file by Pillow, at a quality (0 to 100); grey pictures without colour planes."""

    name = "AV1"
    quantiser = "quality"

    @property
    def version(self) -> str:
        """The libavif in Pillow."""
        if not features.check("avif"):
            raise SemfaceError(Reason.MODEL_UNKNOWN, "this Pillow was built without AVIF; install a newer one")
        return f"AVIF by libavif {features.version('avif')}"

    def code(self, pictures: Sequence[Pixels], parameter: int) -> list[CodedPicture]:
        """Code each picture as a file."""
        coded = []
        for picture in pictures:
            colour = "4:0:0" if _is_grey(picture) else "4:2:0"
            file = _saved(Image.fromarray(picture), "AVIF", quality=parameter, subsampling=colour, speed=4)
            coded.append(CodedPicture(_opened(file), 8 * len(file), avif_data_bits(file)))
        return coded


class JpegCodec:
    """JPEG by Pillow, at a quality (1 to 100), tables fitted to the picture; grey pictures without colour planes."""

    name = "JPEG"
    quantiser = "quality"

    @property
    def version(self) -> str:
        """The libjpeg in Pillow."""
        return f"JPEG by libjpeg-turbo {features.version('libjpeg_turbo') or features.version('jpg')}"

    def code(self, pictures: Sequence[Pixels], parameter: int) -> list[CodedPicture]:
        """Code each picture as a file."""
        coded = []
        for picture in pictures:
            image = Image.fromarray(picture)
            file = _saved(image.convert("L") if _is_grey(picture) else image, "JPEG", quality=parameter, optimize=True)
            coded.append(CodedPicture(_opened(file), 8 * len(file), jpeg_scan_bits(file)))
        return coded


IMAGE_CODECS: Final[dict[str, ImageCodec]] = {
    "vvc": VvcCodec(),
    "hevc": HevcCodec(),
    "av1": AvifCodec(),
    "jpeg": JpegCodec(),
}
"""What ``--baselines`` may name."""


def _run(command: Sequence[str], given: bytes = b"") -> bytes:
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise SemfaceError(Reason.MODEL_UNKNOWN, f"FFmpeg could not code a picture: {' '.join(words)}")
    return done.stdout


def _even(picture: Pixels) -> Pixels:
    """Return ``picture`` with its last row and column doubled where their number is odd: colour has half of each."""
    height, width = picture.shape[:2]
    return np.ascontiguousarray(np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge"))


def _is_grey(picture: Pixels) -> bool:
    return bool((picture == picture[..., :1]).all())


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def _opened(file: bytes) -> Pixels:
    with Image.open(io.BytesIO(file)) as image:
        return np.asarray(image.convert("RGB"))
