"""Fifty thousand broken frames, recordings and pictures: each read or refused by the table within a second."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from semface.codec.bitstream import PORTION_ORDER, drop, outline, pack, pack_predicted, unpack, unpack_predicted
from semface.codec.entropy import FrequencyTables
from semface.codec.recording import Recording
from semface.descriptors import Portion
from semface.errors import Reason, SemfaceError
from semface.extraction.image import decode_image
from tests.codec.test_entropy import random_tables
from tests.extraction.test_image import encoded, one_bit_png, sixteen_bit_png
from tests.faults.conftest import Figure
from tests.faults.mutation import mutations

LONGEST_SECONDS = 1.0
HASH = bytes(range(32))
SIZES = {Portion.ILLUMINATION: 24, Portion.EXPRESSION: 72, Portion.IDENTITY: 160}
TABLES = {portion: FrequencyTables(random_tables(portion.value, SIZES[portion], 30, 0.5)) for portion in PORTION_ORDER}


def frames() -> list[bytes]:
    """Return whole frames of every set of portions, and predicted ones."""
    random = np.random.default_rng(3)
    made = []
    for portions in map(Portion, range(1, 8)):
        payloads = {
            portion: TABLES[portion].encode(random.integers(0, 30, SIZES[portion], dtype=np.int32))
            for portion in PORTION_ORDER
            if portion in portions
        }
        made.append(pack(portions.value % 8, payloads, HASH))
    return [*made, *(pack_predicted(series, bytes((5,)) + random.bytes(9), HASH) for series in (0, 1))]


def read_frame(data: bytes) -> None:
    """Read ``data`` as a receiver, a relay and a session do."""
    with suppress(SemfaceError):
        drop(data, Portion.EXPRESSION)
    with suppress(SemfaceError):
        unpack_predicted(data, HASH)
    # Past the checks, which broken bytes seldom meet.
    with suppress(SemfaceError):
        TABLES[Portion.IDENTITY].decode(data)
    outline(data)
    for portion, payload in unpack(data, HASH)[1].items():
        TABLES[portion].decode(payload)


def recordings() -> list[bytes]:
    """Return whole recordings, short and long."""
    whole = frames()
    kinds = ([], [b""], whole, [whole[6], *40 * [whole[7]], b"", whole[0]])
    return [Recording(HASH[:8], Fraction(rate), kind).write() for kind in kinds for rate in (25, Fraction(30000, 1001))]


def pictures() -> list[bytes]:
    """Return small pictures of every form that is taken."""
    ramp = np.add.outer(np.arange(24), np.arange(32)).astype(np.uint8)
    colour = Image.fromarray(np.stack([ramp, ramp[::-1], 255 - ramp], axis=2))
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        encoded(colour, "JPEG"),
        encoded(colour, "JPEG", progressive=True, exif=exif),
        encoded(colour.convert("L"), "JPEG"),
        encoded(colour.convert("CMYK"), "JPEG"),
        encoded(colour, "PNG", exif=exif),
        encoded(colour.convert("P"), "PNG"),
        encoded(colour.convert("RGBA"), "PNG"),
        encoded(colour.convert("LA"), "PNG"),
        sixteen_bit_png(colour),
        one_bit_png(32, 24),
        encoded(colour, "PNG", save_all=True, append_images=[colour.rotate(90)]),
        encoded(colour, "WEBP"),
        encoded(colour.convert("RGBA"), "WEBP", lossless=True, exif=exif),
        encoded(colour, "WEBP", save_all=True, append_images=[colour.rotate(180)]),
    ]


FRAME_REASONS = {Reason.BITSTREAM_CORRUPT, Reason.BITSTREAM_TOO_LARGE, Reason.BITSTREAM_VERSION}
PICTURE_REASONS = {Reason.IMAGE_UNDECODABLE, Reason.IMAGE_TOO_LARGE}
READERS: dict[str, tuple[Callable[[bytes], object], Sequence[bytes], set[Reason], int]] = {
    "frames": (read_frame, frames(), FRAME_REASONS, 20_000),
    "recordings": (Recording.read, recordings(), FRAME_REASONS, 20_000),
    "pictures": (decode_image, pictures(), PICTURE_REASONS, 12_000),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", READERS)
def test_broken_inputs_are_read_or_refused_by_a_reason_of_the_table(kind: str, figure: Figure) -> None:
    read, whole, reasons, count = READERS[kind]
    met: Counter[str] = Counter()
    slowest = 0.0
    for data in mutations(whole, count, seed=1):
        # Of this thread alone: what others take of the machine is no hang.
        started = time.thread_time()
        try:
            read(data)
            met["read"] += 1
        except SemfaceError as error:
            met[error.reason.name] += 1
        except Exception as error:
            pytest.fail(f"{type(error).__name__} at {data.hex()}")
        slowest = max(slowest, time.thread_time() - started)
        assert slowest < LONGEST_SECONDS, data.hex()
    figure("inputs", count)
    figure("slowest, s", slowest)
    assert set(met) <= {"read"} | {reason.name for reason in reasons}
    # The corpus reaches past the first check, and most of it is refused.
    assert met["read"] > 0
    assert len(met) > 1


def test_a_run_of_fuzzing_tries_fifty_thousand_inputs() -> None:
    assert sum(count for *_, count in READERS.values()) >= 50_000


def test_every_whole_input_is_read() -> None:
    for data in frames()[:7]:
        read_frame(data)
    for data in recordings():
        Recording.read(data)
    for data in pictures():
        assert decode_image(data).shape[2] == 3
