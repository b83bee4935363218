"""The frame: small, self-describing, and refused when damaged."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semface.codec import bitstream
from semface.codec.bitstream import (
    MAX_FRAME_BYTES,
    PORTION_ORDER,
    drop,
    first_damaged,
    is_predicted,
    outline,
    pack,
    pack_all,
    pack_predicted,
    unpack,
    unpack_predicted,
)
from semface.descriptors import Portion
from semface.errors import Reason, SemfaceError
from tests.codec.plain_decoder import NAMES, read_frame, read_predicted

HASH = bytes(range(0x10, 0x30))
PAYLOADS = {
    Portion.IDENTITY: bytes.fromhex("8d2f60a1b4c3d2e1f00f1e2d3c4b5a69788796a5"),
    Portion.EXPRESSION: bytes.fromhex("0011223344556677ff"),
    Portion.ILLUMINATION: bytes.fromhex("c0ffee"),
}
SUBSETS = [subset for size in (1, 2, 3) for subset in itertools.combinations(PORTION_ORDER, size)]
HEAD_BITS = 16
GOLDEN = {
    (Portion.ILLUMINATION,): "0e10c0ffeed6",
    (Portion.EXPRESSION,): "0d400011223344556677fffb",
    (Portion.IDENTITY,): "0ce88d2f60a1b4c3d2e1f00f1e2d3c4b5a69788796a5f7",
    (Portion.ILLUMINATION, Portion.EXPRESSION): "0f2403c0ffeed60011223344556677fffb",
    (Portion.ILLUMINATION, Portion.IDENTITY): "0e8c03c0ffeed68d2f60a1b4c3d2e1f00f1e2d3c4b5a69788796a5f7",
    (Portion.EXPRESSION, Portion.IDENTITY): "0dd9090011223344556677fffb8d2f60a1b4c3d2e1f00f1e2d3c4b5a69788796a5f7",
    PORTION_ORDER: "0fb90309c0ffeed60011223344556677fffb8d2f60a1b4c3d2e1f00f1e2d3c4b5a69788796a5f7",
}
"""The frames of ``PAYLOADS`` at quality 3, which the decoder written from the document reads too."""

REFERENCE = bytes(range(10))
GOLDEN_PREDICTED = {
    (0, "0a1122334455"): "282a1122334455",
    (1, "0a1122334455"): "385a1122334455",
    (0, "05"): "2175",
    (1, "05"): "3105",
}
"""Predicted frames after ``REFERENCE``, by series and payload."""

payload_sets = st.dictionaries(st.sampled_from(PORTION_ORDER), st.binary(max_size=140), min_size=1)
qualities = st.integers(0, 7)


def flip(frame: bytes, pattern: int, position: int) -> bytes:
    """Return ``frame`` with the bits of ``pattern`` flipped, its last one ``position`` bits before the end."""
    return (int.from_bytes(frame) ^ pattern << position).to_bytes(len(frame))


def answer(frame: bytes) -> Reason | tuple[int, dict[Portion, bytes]]:
    """Return what ``frame`` holds, or why it is refused."""
    try:
        return unpack(frame, HASH)
    except SemfaceError as error:
        return error.reason


def refusal(frame: bytes) -> Reason:
    """Return why ``frame`` is refused; fail if it is not."""
    reason = answer(frame)
    assert isinstance(reason, Reason)
    return reason


@pytest.mark.parametrize("subset", SUBSETS)
def test_the_bytes_of_a_frame_never_change(subset: tuple[Portion, ...]) -> None:
    payloads, frame = {portion: PAYLOADS[portion] for portion in subset}, bytes.fromhex(GOLDEN[subset])
    assert pack(3, payloads, HASH) == frame
    assert unpack(frame, HASH) == (3, payloads)
    assert read_frame(frame, HASH) == (3, {NAMES[portion.value]: payload for portion, payload in payloads.items()})
    assert not is_predicted(frame)


@pytest.mark.parametrize(("series", "payload"), GOLDEN_PREDICTED)
def test_the_bytes_of_a_predicted_frame_never_change(series: int, payload: str) -> None:
    plain, frame = bytes.fromhex(payload), bytes.fromhex(GOLDEN_PREDICTED[series, payload])
    assert pack_predicted(series, plain, REFERENCE) == frame
    assert unpack_predicted(frame, REFERENCE) == read_predicted(frame, REFERENCE) == (series, plain)
    assert is_predicted(frame)
    assert refusal(frame) is Reason.BITSTREAM_CORRUPT


def refused_as_predicted(frame: bytes, reference: bytes = REFERENCE) -> Reason:
    """Return why ``frame`` is refused as a predicted one; fail if it is not."""
    with pytest.raises(SemfaceError) as caught:
        unpack_predicted(frame, reference)
    return caught.value.reason


def test_what_is_no_predicted_frame_is_refused_as_one() -> None:
    assert not is_predicted(b"")
    whole = bytes.fromhex(GOLDEN_PREDICTED[0, "0a1122334455"])
    for length in range(len(whole)):
        assert refused_as_predicted(whole[:length]) is Reason.BITSTREAM_CORRUPT
    assert refused_as_predicted(bytes.fromhex(GOLDEN[PORTION_ORDER])) is Reason.BITSTREAM_CORRUPT
    # Each value of the bits of version and type but the one that a predicted frame has.
    for bits in set(range(8)) - {1}:
        assert not is_predicted(bytes((bits << 5,)) + whole[1:])
    # Of one byte, whatever it is.
    for byte in range(256):
        assert refused_as_predicted(bytes((byte,))) is Reason.BITSTREAM_CORRUPT


def test_the_longest_frames_are_read_and_one_byte_more_is_refused_by_size() -> None:
    alone = {Portion.IDENTITY: bytes(MAX_FRAME_BYTES - 3)}
    frame = pack(0, alone, HASH)
    assert len(frame) == MAX_FRAME_BYTES == 1024
    assert unpack(frame, HASH) == (0, alone)
    assert refusal(frame + b"\0") is Reason.BITSTREAM_TOO_LARGE
    predicted = pack_predicted(0, bytes(MAX_FRAME_BYTES - 1), REFERENCE)
    assert len(predicted) == MAX_FRAME_BYTES
    assert unpack_predicted(predicted, REFERENCE) == (0, bytes(MAX_FRAME_BYTES - 1))
    assert refused_as_predicted(predicted + b"\0") is Reason.BITSTREAM_TOO_LARGE


def test_a_payload_that_another_follows_has_255_bytes_at_most() -> None:
    payloads = {Portion.EXPRESSION: bytes(255), Portion.IDENTITY: b""}
    assert unpack(pack(7, payloads, HASH), HASH) == (7, payloads)


def test_the_first_eight_bytes_of_the_models_hash_count() -> None:
    frame = pack(0, PAYLOADS, HASH)
    for place in range(32):
        other = HASH[:place] + bytes((HASH[place] ^ 1,)) + HASH[place + 1 :]
        if place < 8:
            with pytest.raises(SemfaceError, match="illumination"):
                unpack(frame, other)
        else:
            assert unpack(frame, other) == (0, PAYLOADS)


@pytest.mark.parametrize("portion", PORTION_ORDER)
def test_the_payload_that_is_damaged_is_named(portion: Portion) -> None:
    frame = pack(0, PAYLOADS, HASH)
    place = frame.index(PAYLOADS[portion])
    damaged = frame[:place] + bytes((frame[place] ^ 1,)) + frame[place + 1 :]
    with pytest.raises(SemfaceError, match=str(portion.name).lower()):
        unpack(damaged, HASH)


@pytest.mark.parametrize("count", [1, 5, 100])
def test_of_many_payloads_the_first_damaged_one_is_told(count: int) -> None:
    frames = pack_all(2, {Portion.EXPRESSION: [bytes((number, 7, 9)) for number in range(count)]}, HASH)
    bodies = [frame[2:] for frame in frames]
    assert first_damaged(2, Portion.EXPRESSION, bodies, HASH) is None
    for place in {0, count // 2, count - 1}:
        damaged = [*bodies[:place], *(flip(body, 1, 0) for body in bodies[place:])]
        assert first_damaged(2, Portion.EXPRESSION, damaged, HASH) == place


@given(qualities, payload_sets)
@settings(max_examples=200, deadline=None)
def test_what_is_packed_comes_back(quality: int, payloads: dict[Portion, bytes]) -> None:
    assert unpack(pack(quality, payloads, HASH), HASH) == (quality, payloads)


@given(qualities, payload_sets)
@settings(max_examples=100, deadline=None)
def test_a_decoder_written_from_the_document_reads_the_same(quality: int, payloads: dict[Portion, bytes]) -> None:
    named = {NAMES[portion.value]: payload for portion, payload in payloads.items()}
    assert read_frame(pack(quality, payloads, HASH), HASH) == (quality, named)


@pytest.mark.parametrize("subset", SUBSETS)
def test_the_overhead_is_what_the_design_allows(subset: tuple[Portion, ...]) -> None:
    payloads = {portion: PAYLOADS[portion] for portion in subset}
    frame = pack(3, payloads, HASH)
    checks = 8 * len(subset)
    overhead = 8 * (len(frame) - sum(map(len, payloads.values())))
    assert overhead - checks == 16 + 8 * (len(subset) - 1) <= 24 + 8 * (len(subset) - 1)
    if len(subset) == 1:
        assert overhead == 24


@given(qualities, payload_sets, st.data())
@settings(max_examples=300, deadline=None)
def test_a_flipped_bit_is_refused(quality: int, payloads: dict[Portion, bytes], data: st.DataObject) -> None:
    frame = pack(quality, payloads, HASH)
    position = data.draw(st.integers(0, 8 * len(frame) - 1))
    assert refusal(flip(frame, 1, position)) in (Reason.BITSTREAM_CORRUPT, Reason.BITSTREAM_VERSION)


@pytest.mark.parametrize("subset", SUBSETS)
def test_every_flipped_bit_of_a_frame_is_refused(subset: tuple[Portion, ...]) -> None:
    frame = pack(5, {portion: PAYLOADS[portion] for portion in subset}, HASH)
    for position in range(8 * len(frame)):
        refusal(flip(frame, 1, position))


@given(qualities, payload_sets, st.data())
@settings(max_examples=300, deadline=None)
def test_a_burst_up_to_eight_bits_in_the_payloads_is_refused(
    quality: int, payloads: dict[Portion, bytes], data: st.DataObject
) -> None:
    frame = pack(quality, payloads, HASH)
    body_bits = 8 * (len(frame) - 2 - (len(payloads) - 1))
    width = data.draw(st.integers(1, 8))
    burst = 1 | (data.draw(st.integers(0, 127)) << 1 & (1 << width) - 1) | 1 << width - 1
    position = data.draw(st.integers(0, body_bits - width))
    assert refusal(flip(frame, burst, position)) is Reason.BITSTREAM_CORRUPT


@pytest.mark.parametrize("subset", SUBSETS)
def test_a_burst_up_to_three_bits_in_head_and_lengths_is_refused(subset: tuple[Portion, ...]) -> None:
    frame = pack(2, {portion: PAYLOADS[portion] for portion in subset}, HASH)
    for burst in (0b1, 0b11, 0b101, 0b111):
        for place in range(HEAD_BITS + 8 * (len(subset) - 1)):
            refusal(flip(frame, burst, 8 * len(frame) - place - burst.bit_length()))


@pytest.mark.parametrize("subset", SUBSETS)
def test_every_truncation_and_any_byte_more_is_refused(subset: tuple[Portion, ...]) -> None:
    frame = pack(1, {portion: PAYLOADS[portion] for portion in subset}, HASH)
    for length in range(len(frame)):
        assert refusal(frame[:length]) is Reason.BITSTREAM_CORRUPT
    # The length of the last payload is not written, so one byte of 256 passes here; the entropy coder refuses it.
    answers = [answer(frame + bytes((byte,))) for byte in range(256)]
    assert answers.count(Reason.BITSTREAM_CORRUPT) == 255


def test_an_empty_frame_is_refused() -> None:
    assert refusal(b"") is Reason.BITSTREAM_CORRUPT


def test_ten_megabytes_are_refused_by_size() -> None:
    assert refusal(bytes(10_000_000)) is Reason.BITSTREAM_TOO_LARGE
    assert refusal(bytes(MAX_FRAME_BYTES + 1)) is Reason.BITSTREAM_TOO_LARGE


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_later_version_is_refused_by_name(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        later.setattr(bitstream, "FORMAT_VERSION", version)
        frame = pack(1, PAYLOADS, HASH)
    assert refusal(frame) is Reason.BITSTREAM_VERSION


payloads_of_predicted = st.binary(min_size=1, max_size=40).map(lambda data: bytes((data[0] & 15,)) + data[1:])
references = st.binary(min_size=10, max_size=10)


@given(st.integers(0, 1), payloads_of_predicted, references)
@settings(max_examples=200, deadline=None)
def test_what_is_packed_as_predicted_comes_back_and_costs_12_bits(
    series: int, payload: bytes, reference: bytes
) -> None:
    frame = pack_predicted(series, payload, reference)
    assert unpack_predicted(frame, reference) == (series, payload)
    assert read_predicted(frame, reference) == (series, payload)
    assert 8 * len(frame) - (8 * len(payload) - 4) == 12


@given(payloads_of_predicted, st.binary(min_size=9, max_size=9))
@settings(max_examples=20, deadline=None)
def test_a_predicted_frame_is_read_as_the_one_of_its_number_only(payload: bytes, seed: bytes) -> None:
    frame = pack_predicted(0, payload, seed + b"\x07")
    for number in set(range(256)) - {7}:
        with pytest.raises(SemfaceError):
            unpack_predicted(frame, seed + bytes((number,)))


@given(payloads_of_predicted, references, st.integers(1, 255), st.integers(0))
@settings(max_examples=300, deadline=None)
def test_each_burst_of_8_bits_in_a_predicted_frame_is_refused(
    payload: bytes, reference: bytes, pattern: int, place: int
) -> None:
    frame = pack_predicted(1, payload, reference)
    damaged = flip(frame, pattern, place % (8 * len(frame) - 7))
    with pytest.raises(SemfaceError):
        unpack_predicted(damaged, reference)


@given(st.binary(max_size=200))
@settings(max_examples=500, deadline=None)
def test_any_bytes_are_read_or_refused_by_name(frame: bytes) -> None:
    read = answer(frame)
    if isinstance(read, Reason):
        assert read in (Reason.BITSTREAM_CORRUPT, Reason.BITSTREAM_VERSION)
    else:
        assert pack(*read, HASH) == frame


def test_a_frame_of_another_codec_model_is_refused() -> None:
    frame = pack(0, PAYLOADS, HASH)
    with pytest.raises(SemfaceError) as refused:
        unpack(frame, bytes(32))
    assert refused.value.reason is Reason.BITSTREAM_CORRUPT


@given(qualities, payload_sets, st.integers(1, 6))
@settings(max_examples=200, deadline=None)
def test_a_relay_drops_portions_without_the_model(
    quality: int, payloads: dict[Portion, bytes], dropped_bits: int
) -> None:
    frame, dropped = pack(quality, payloads, HASH), Portion(dropped_bits)
    left = {portion: payload for portion, payload in payloads.items() if portion not in dropped}
    if left:
        assert drop(frame, dropped) == pack(quality, left, HASH)
    else:
        with pytest.raises(SemfaceError) as refused:
            drop(frame, dropped)
        assert refused.value.reason is Reason.GROUP_ABSENT


def test_a_relay_reads_the_outline_and_refuses_a_damaged_head() -> None:
    frame = pack(6, PAYLOADS, HASH)
    found = outline(frame)
    assert found.quality == 6
    assert found.portions == Portion.ALL
    assert dict(found.sizes) == {portion: len(payload) for portion, payload in PAYLOADS.items()}
    for place in range(HEAD_BITS + 16):
        with pytest.raises(SemfaceError):
            outline(flip(frame, 1, 8 * len(frame) - 1 - place))


@pytest.mark.parametrize(
    ("quality", "payloads"),
    [(8, PAYLOADS), (9, PAYLOADS), (-1, PAYLOADS), (0, {}), (0, PAYLOADS | {Portion.EXPRESSION: bytes(256)})],
    ids=["quality of four bits", "a larger one", "negative quality", "no payload", "payload too long for its length"],
)
def test_what_does_not_fit_its_field_is_not_packed(quality: int, payloads: dict[Portion, bytes]) -> None:
    with pytest.raises(ValueError, match="payload"):
        pack(quality, payloads, HASH)
