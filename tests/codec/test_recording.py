"""A session in a file."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semface.codec.bitstream import MAX_FRAME_BYTES
from semface.codec.recording import SIGNATURE, Recording
from semface.errors import Reason, SemfaceError

HASH = bytes(range(8))


@given(st.lists(st.binary(max_size=MAX_FRAME_BYTES), max_size=8))
@settings(max_examples=100, deadline=None)
def test_what_is_written_is_read(frames: list[bytes]) -> None:
    recording = Recording(HASH, Fraction(30000, 1001), frames)
    assert Recording.read(recording.write()) == recording


def test_the_bytes_are_those_of_the_document() -> None:
    data = Recording(HASH, Fraction(25), [b"\x01\x02", b"", bytes(300)]).write()
    assert data[:16].hex() == "d353454d0001020304050607" + "00190001"
    assert data[16:].hex() == "020102" + "00" + "812c" + 300 * "00"


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused_by_name(noise: bytes) -> None:
    for data in (noise, SIGNATURE + noise):
        try:
            read = Recording.read(data)
        except SemfaceError as error:
            reason = error.reason
        else:
            assert all(frame in data for frame in read.frames)
            continue
        assert reason is Reason.BITSTREAM_CORRUPT


def test_a_recording_that_ends_inside_a_frame_is_refused() -> None:
    data = Recording(HASH, Fraction(25), [b"\x01\x02"]).write()
    with pytest.raises(SemfaceError) as refused:
        Recording.read(data[:-1])
    assert refused.value.reason is Reason.BITSTREAM_CORRUPT
