"""Whatever bytes come, the decoder answers with finite numbers or refuses with an error of the table."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semface.codec.bitstream import MAX_FRAME_BYTES, PORTION_ORDER, drop, outline, pack
from semface.codec.core import Codec
from semface.descriptors import Portion
from semface.errors import Reason, SemfaceError
from semface.inference.embedded import EmbeddedEngine
from tests.codec.faces import faces

REFUSALS = {Reason.BITSTREAM_CORRUPT, Reason.BITSTREAM_TOO_LARGE, Reason.BITSTREAM_VERSION}
FUZZ = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Decoder:
    """The codec of the tiny networks with an event loop of its own, and true frames to damage."""

    def __init__(self, repository: Path) -> None:
        self.engine = EmbeddedEngine(repository)
        self.codec = Codec(self.engine, repository)
        self.loop = asyncio.new_event_loop()
        sent = faces(4)
        self.frames = [
            frame
            for quality in self.codec.prior.qualities
            for portions in (Portion.ALL, *Portion.ALL)
            for frame in self.loop.run_until_complete(self.codec.encode(sent, quality.index, portions))
        ]

    def decode(self, frames: list[bytes]) -> None:
        """Decode ``frames``: finite numbers, or an error of the table that names its frame."""
        try:
            decoded = self.loop.run_until_complete(self.codec.decode(frames))
        except SemfaceError as error:
            refused = error
        else:
            assert len(decoded) == len(frames)
            assert all(np.isfinite(face.descriptors).all() and face.portions for face in decoded)
            return
        assert refused.reason in REFUSALS
        assert (refused.field or "").startswith("frames[")


@pytest.fixture(scope="module")
def decoder(tiny_repository: Path) -> Iterator[Decoder]:
    made = Decoder(tiny_repository)
    yield made
    made.loop.run_until_complete(made.engine.close())
    made.loop.close()


@st.composite
def damage(draw: st.DrawFn) -> list[tuple[str, int, bytes]]:
    """A few things to do to a frame: replace, insert or remove bytes at a place."""
    kinds = st.tuples(
        st.sampled_from(["replace", "insert", "remove"]), st.integers(0, 200), st.binary(min_size=1, max_size=6)
    )
    return draw(st.lists(kinds, min_size=1, max_size=4))


def damaged(frame: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    for kind, place, data in changes:
        place %= len(frame) + 1
        skipped = 0 if kind == "insert" else len(data)
        frame = frame[:place] + (b"" if kind == "remove" else data) + frame[place + skipped :]
    return frame


@given(frame=st.binary(max_size=MAX_FRAME_BYTES + 40))
@FUZZ
def test_any_bytes_are_decoded_or_refused(decoder: Decoder, frame: bytes) -> None:
    decoder.decode([frame])


@given(place=st.integers(0, 10**6), changes=damage())
@FUZZ
def test_damaged_frames_are_decoded_or_refused(
    decoder: Decoder, place: int, changes: list[tuple[str, int, bytes]]
) -> None:
    frame = decoder.frames[place % len(decoder.frames)]
    decoder.decode([damaged(frame, changes)])


@given(
    quality=st.integers(0, 7),
    payloads=st.dictionaries(st.sampled_from(PORTION_ORDER), st.binary(max_size=120), min_size=1),
    copies=st.sampled_from([1, 40]),
)
@FUZZ
def test_any_payloads_with_true_checks_are_decoded_or_refused(
    decoder: Decoder, quality: int, payloads: dict[Portion, bytes], copies: int
) -> None:
    """Past all checks into the entropy decoder, of one face and of many in step."""
    decoder.decode(copies * [pack(quality, payloads, bytes.fromhex(decoder.codec.model_hash))])


@given(frame=st.binary(max_size=80), portions=st.sampled_from([Portion(value) for value in range(1, 8)]))
@FUZZ
def test_a_relay_survives_any_bytes(frame: bytes, portions: Portion) -> None:
    try:
        left = drop(frame, portions)
    except SemfaceError as error:
        reason = error.reason
    else:
        assert not outline(left).portions & portions
        return
    assert reason in REFUSALS | {Reason.GROUP_ABSENT}
