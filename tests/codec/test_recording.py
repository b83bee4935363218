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
    frames = [b"\x01\x02", b"", bytes(300)]
    data = Recording(HASH, Fraction(25), frames).write()
    assert data[:16].hex() == "d353454d0001020304050607" + "00190001"
    assert data[16:].hex() == "020102" + "00" + "812c" + 300 * "00"
    assert Recording.read(data) == Recording(HASH, Fraction(25), frames)


def refusal(data: bytes) -> Reason:
    with pytest.raises(SemfaceError) as refused:
        Recording.read(data)
    return refused.value.reason


def test_each_length_from_none_to_the_longest_is_read_and_one_more_is_refused() -> None:
    frames = [bytes(length) for length in (0, 1, 127, 128, 129, 255, 256, 257, MAX_FRAME_BYTES)]
    data = Recording(HASH, Fraction(25), frames).write()
    assert Recording.read(data).frames == frames
    longer = Recording(HASH, Fraction(25), [bytes(MAX_FRAME_BYTES + 1)]).write()
    assert refusal(longer) is Reason.BITSTREAM_CORRUPT


def test_a_recording_that_ends_anywhere_but_behind_a_frame_is_refused() -> None:
    frames = [bytes(5), bytes(200)]
    data = Recording(HASH, Fraction(30000, 1001), frames).write()
    whole = {16: 0, 22: 1, len(data): 2}
    for length in range(len(data) + 1):
        if length in whole:
            assert Recording.read(data[:length]).frames == frames[: whole[length]]
        else:
            assert refusal(data[:length]) is Reason.BITSTREAM_CORRUPT


def test_a_head_that_is_not_one_is_refused() -> None:
    data = Recording(HASH, Fraction(25), [b"frame"]).write()
    for place in range(len(SIGNATURE)):
        assert refusal(data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]) is Reason.BITSTREAM_CORRUPT
    assert refusal(data[:14] + bytes(2) + data[16:]) is Reason.BITSTREAM_CORRUPT
    assert Recording.read(data[:12] + bytes(2) + data[14:]).frames_per_second == 0


def test_a_rate_is_kept_as_two_numbers_of_two_bytes() -> None:
    for rate, kept in (
        (Fraction(30000, 1001), Fraction(30000, 1001)),
        (Fraction(1, 1001), Fraction(1, 1001)),
        (Fraction(1, 1002), Fraction(1, 1001)),
        (Fraction(65535), Fraction(65535)),
        (Fraction(65536), Fraction(65535)),
    ):
        assert Recording.read(Recording(HASH, rate, []).write()).frames_per_second == kept


def test_of_a_hash_the_first_eight_bytes_are_kept() -> None:
    whole = bytes(range(32))
    assert Recording.read(Recording(whole, Fraction(25), []).write()).model_hash == whole[:8]


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
