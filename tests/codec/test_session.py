"""A session: what one side sends the other shows, what is lost is held and repaired, nothing wrong is ever shown."""

import asyncio
import contextlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from semface.codec.bitstream import drop, is_predicted, outline
from semface.codec.core import Codec
from semface.codec.session import FrameState, SessionDecoder, SessionEncoder, Shown, session_quality
from semface.codec.steering import landmarks
from semface.descriptors import PORTION_SLICES, Portion
from semface.errors import Reason, SemfaceError
from tests.codec.faces import faces

MOVING = PORTION_SLICES[Portion.EXPRESSION]


def motion(frames: int, seed: int = 0) -> NDArray[np.float32]:
    """Return one face (frames, 257) whose expression and pose swing from one face to another."""
    start, end = faces(2, seed)
    swing = np.sin(np.arange(frames) / 8)[:, None] / 2 + 0.5
    moved = np.tile(start, (frames, 1))
    moved[:, MOVING] += (0.5 * swing * (end - start)).astype(np.float32)[:, MOVING]
    return moved


async def send(encoder: SessionEncoder, sent: NDArray[np.float32]) -> list[bytes]:
    return [await encoder.encode(face) for face in sent]


async def receive(decoder: SessionDecoder, frames: list[bytes | None]) -> list[Shown]:
    return [await decoder.decode(frame) for frame in frames]


async def session(codec: Codec, count: int = 14) -> tuple[list[bytes], list[Shown]]:
    """Return the frames of a session, and what a receiver of all of them shows."""
    frames = await send(SessionEncoder(codec, "high", key_interval=12), motion(count))
    return frames, await receive(SessionDecoder(codec), list(frames))


def same(first: Shown, second: Shown) -> bool:
    return np.array_equal(first.descriptors[MOVING], second.descriptors[MOVING])


async def test_the_receiver_shows_the_moving_face(codec: Codec) -> None:
    sent = motion(20)
    frames = await send(SessionEncoder(codec, "high", bit_weight=0.01), sent)
    shown = await receive(SessionDecoder(codec), list(frames))
    assert [is_predicted(frame) for frame in frames] == [False] + 19 * [True]
    assert {face.state for face in shown} == {FrameState.DECODED}
    received, points = landmarks(np.array([face.descriptors for face in shown])), landmarks(sent)
    assert np.abs(received - points).mean() < 0.15 * np.abs(points - points[0]).mean()


async def test_predicted_frames_are_far_smaller_than_keys(codec: Codec) -> None:
    frames, _ = await session(codec)
    alone = len((await codec.encode(motion(1), "high", Portion.EXPRESSION))[0])
    assert np.mean([len(frame) for frame in frames if is_predicted(frame)]) < alone / 2


async def test_a_face_that_keeps_still_costs_next_to_nothing(codec: Codec) -> None:
    frames = await send(SessionEncoder(codec), np.repeat(faces(1), 30, axis=0))
    assert {len(frame) for frame in frames[20:]} <= {2, 3}


async def test_identity_is_sent_once_and_again_on_demand(codec: Codec) -> None:
    encoder, face = SessionEncoder(codec, key_interval=5), faces(1)[0]
    frames = [await encoder.encode(face, refresh=index == 7) for index in range(11)]
    keys = {index: outline(frame).portions for index, frame in enumerate(frames) if not is_predicted(frame)}
    later = Portion.EXPRESSION | Portion.ILLUMINATION
    assert keys == {0: Portion.ALL, 5: later, 7: Portion.ALL}
    shown = await receive(SessionDecoder(codec), list(frames))
    assert {face.portions for face in shown} == {Portion.ALL}


async def test_a_key_comes_when_it_is_asked_for_and_leaves_identity_out(codec: Codec) -> None:
    encoder, face = SessionEncoder(codec), faces(1)[0]
    frames = [await encoder.encode(face, key=index == 2) for index in range(4)]
    assert [is_predicted(frame) for frame in frames] == [False, True, False, True]
    assert outline(frames[2]).portions == Portion.EXPRESSION | Portion.ILLUMINATION


async def test_a_face_that_jumps_is_sent_as_a_key_frame(codec: Codec) -> None:
    encoder, (first, second) = SessionEncoder(codec, "high"), faces(2)
    await encoder.encode(first)
    second[MOVING] = first[MOVING] + 100 * (second - first)[MOVING]
    assert not is_predicted(await encoder.encode(second))


@pytest.mark.parametrize("lost", [1, 4, 11, 12])
async def test_a_lost_frame_is_held_until_the_next_key_and_then_all_is_as_it_was(codec: Codec, lost: int) -> None:
    frames, whole = await session(codec, 26)
    repaired = next(index for index in (12, 24) if index > lost)
    for silently in (False, True):
        received: list[bytes | None] = [frame for index, frame in enumerate(frames) if index != lost or not silently]
        if not silently:
            received[lost] = None
        shown = await receive(SessionDecoder(codec), received)
        if silently:
            shown.insert(lost, shown[lost - 1])
        for index in range(lost + 1, repaired):
            assert shown[index].state is FrameState.CONCEALED
            assert same(shown[index], whole[lost - 1])
        for index in range(repaired, len(frames)):
            assert shown[index].state is FrameState.DECODED
            assert same(shown[index], whole[index])


async def test_frames_out_of_order_or_twice_change_nothing(codec: Codec) -> None:
    frames, whole = await session(codec)
    for order in ([0, 1, 1], [0, 2, 1], [0, 1, 2, 1]):
        shown = await receive(SessionDecoder(codec), [frames[index] for index in order])
        assert shown[-1].state is FrameState.CONCEALED
        assert any(same(shown[-1], whole[index]) for index in order)


async def test_a_receiver_that_joins_late_starts_at_a_key_frame(codec: Codec) -> None:
    frames, whole = await session(codec)
    shown = await receive(SessionDecoder(codec), list(frames[5:]))
    assert {face.state for face in shown[:7]} == {FrameState.WAITING}
    assert {face.portions for face in shown[:7]} == {Portion(0)}
    assert all(same(face, was) for face, was in zip(shown[7:], whole[12:], strict=True))
    assert Portion.IDENTITY not in shown[-1].portions


async def test_frames_of_another_session_are_not_shown(codec: Codec) -> None:
    ours = await send(SessionEncoder(codec), motion(1, 1))
    theirs = await send(SessionEncoder(codec), motion(2, 2))
    shown = await receive(SessionDecoder(codec), [ours[0], theirs[1]])
    assert shown[1].state is FrameState.CONCEALED


async def test_a_relay_may_drop_identity_from_the_keys(codec: Codec) -> None:
    frames, whole = await session(codec)
    thin = [frame if is_predicted(frame) else drop(frame, Portion.IDENTITY | Portion.ILLUMINATION) for frame in frames]
    shown = await receive(SessionDecoder(codec), list(thin))
    assert {face.portions for face in shown} == {Portion.EXPRESSION}
    assert all(same(face, was) for face, was in zip(shown, whole, strict=True))


async def test_identity_alone_refreshes_without_breaking_the_chain(codec: Codec) -> None:
    frames, whole = await session(codec)
    refresh = (await codec.encode(motion(1), portions=Portion.IDENTITY))[0]
    shown = await receive(SessionDecoder(codec), [*frames[:4], refresh, frames[4]])
    assert shown[-1].state is FrameState.DECODED
    assert same(shown[-1], whole[4])


async def test_every_flipped_bit_of_a_predicted_frame_is_concealed(codec: Codec) -> None:
    frames, whole = await session(codec, 6)
    for position in range(8 * len(frames[5])):
        flipped = (int.from_bytes(frames[5]) ^ 1 << position).to_bytes(len(frames[5]))
        decoder = SessionDecoder(codec)
        await receive(decoder, list(frames[:5]))
        if position >= 8 * len(frames[5]) - 2:  # the two bits of the version
            with contextlib.suppress(SemfaceError):
                assert (await decoder.decode(flipped)).state is FrameState.CONCEALED
            continue
        shown = await decoder.decode(flipped)
        assert shown.state is FrameState.CONCEALED
        assert same(shown, whole[4])


async def test_whatever_bytes_come_the_session_goes_on(codec: Codec) -> None:
    frames = await send(SessionEncoder(codec, key_interval=4), motion(5))
    whole = await receive(SessionDecoder(codec), list(frames))

    @given(st.binary(max_size=40), st.integers(0, 4), st.booleans())
    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def check(noise: bytes, place: int, predicted: bool) -> None:
        damaged = bytes((0x20 | noise[0] & 0x1F,)) + noise[1:] if predicted and noise else noise
        asyncio.run(feed(damaged, place))

    async def feed(damaged: bytes, place: int) -> None:
        decoder = SessionDecoder(codec)
        for index, frame in enumerate(frames):
            with contextlib.suppress(SemfaceError):
                shown = await decoder.decode(damaged if index == place else frame)
                assert np.isfinite(shown.descriptors).all()
        assert shown.state is FrameState.DECODED or place == 4
        if place < 4:
            assert same(shown, whole[-1])

    await asyncio.to_thread(check)


async def test_ten_megabytes_are_refused_by_size_and_the_session_goes_on(codec: Codec) -> None:
    frames, whole = await session(codec, 13)
    for large in (bytes(10_000_000), b"\x20" + bytes(10_000_000)):
        decoder = SessionDecoder(codec)
        await decoder.decode(frames[0])
        with pytest.raises(SemfaceError) as refused:
            await decoder.decode(large)
        assert refused.value.reason is Reason.BITSTREAM_TOO_LARGE
        assert same(await decoder.decode(frames[12]), whole[12])


async def test_what_a_session_cannot_be_is_refused_by_name(codec: Codec) -> None:
    for wrong in (
        {"portions": Portion.IDENTITY},
        {"key_interval": 0},
        {"key_interval": 257},
        {"quality": "best"},
    ):
        with pytest.raises(SemfaceError) as refused:
            SessionEncoder(codec, **wrong)
        assert refused.value.reason is Reason.FIELD_INVALID
    with pytest.raises(SemfaceError) as refused:
        await SessionEncoder(codec).encode(np.full(257, np.nan))
    assert refused.value.reason is Reason.NOT_FINITE


async def test_a_session_that_names_no_quality_takes_the_third_finest(codec: Codec) -> None:
    assert session_quality(codec).name == "low"
    assert outline(await SessionEncoder(codec).encode(faces(1)[0])).quality == 0


async def test_a_predicted_frame_alone_is_refused_and_says_where_it_belongs(codec: Codec) -> None:
    frames, _ = await session(codec, 2)
    with pytest.raises(SemfaceError) as refused:
        await codec.decode([frames[1]])
    assert refused.value.reason is Reason.BITSTREAM_CORRUPT
    assert "session" in refused.value.message
