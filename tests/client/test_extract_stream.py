"""A moving picture through both clients, frame by frame."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from threading import Event

import pytest

from semface.client import AsyncClient, CallError, Client
from semface.errors import Reason
from tests.services.stack import photograph


async def frames(*names: str) -> AsyncIterator[bytes]:
    for name in names:
        yield photograph(name)


async def test_each_frame_is_answered_in_its_order_and_a_face_keeps_its_number(address: str) -> None:
    async with AsyncClient(address) as client:
        answers = [
            answer async for answer in client.extract_stream(frames("astronaut.png", "coffee.png", "astronaut.png"))
        ]
        (alone,) = (await client.extract(photograph("astronaut.png"))).faces
    assert [[face.track_id for face in answer.faces] for answer in answers] == [[1], [], [1]]
    assert (answers[0].width, answers[0].height) == (512, 512)
    assert (answers[2].faces[0].descriptors == alone.descriptors).all()
    assert alone.track_id == 0


async def test_an_answer_comes_before_the_next_frame_is_sent(address: str) -> None:
    seen = asyncio.Event()

    async def live() -> AsyncIterator[bytes]:
        yield photograph("astronaut.png")
        await seen.wait()
        yield photograph("astronaut.png")

    async with AsyncClient(address) as client, asyncio.timeout(20):
        count = 0
        async for _ in client.extract_stream(live()):
            count += 1
            seen.set()
    assert count == 2


async def test_a_frame_that_is_no_picture_is_raised_by_its_reason(address: str) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield photograph("astronaut.png")
        yield b"no picture"

    async with AsyncClient(address) as client:
        answers = client.extract_stream(broken())
        assert len((await anext(answers)).faces) == 1
        with pytest.raises(CallError) as caught:
            await anext(answers)
    assert caught.value.reason is Reason.IMAGE_UNDECODABLE


async def test_what_the_callers_frames_raise_is_raised_to_the_caller(address: str) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield photograph("astronaut.png")
        raise OSError("the camera is gone")

    async with AsyncClient(address) as client:
        with pytest.raises(OSError, match="the camera is gone"):
            async for _ in client.extract_stream(failing()):
                pass


def test_the_blocking_client_answers_each_frame_before_the_next_is_sent(address: str) -> None:
    answered = Event()

    def live() -> Iterator[bytes]:
        for name in ("astronaut.png", "coffee.png", "astronaut.png"):
            yield photograph(name)
            assert answered.wait(20)
            answered.clear()

    found = []
    with Client(address) as client:
        for answer in client.extract_stream(live()):
            found.append([(face.id, face.track_id) for face in answer.faces])
            answered.set()
    assert found == [[(0, 1)], [], [(0, 1)]]


def test_the_blocking_client_tells_a_bad_frame_by_its_reason_and_what_the_callers_frames_raise(address: str) -> None:
    def failing() -> Iterator[bytes]:
        yield photograph("astronaut.png")
        raise OSError("the camera is gone")

    with Client(address) as client:
        with pytest.raises(CallError) as caught:
            list(client.extract_stream([b"no picture"]))
        assert caught.value.reason is Reason.IMAGE_UNDECODABLE
        with pytest.raises(OSError, match="the camera is gone"):
            list(client.extract_stream(failing()))


def test_a_stream_of_the_blocking_client_ends_when_it_is_closed(address: str) -> None:
    frame, sent = photograph("astronaut.png"), []

    def endless() -> Iterator[bytes]:
        while True:
            sent.append(1)
            yield frame

    with Client(address) as client:
        stream = client.extract_stream(endless())
        assert len(next(stream).faces) == 1
        stream.close()  # type: ignore[attr-defined]
        assert len(client.extract(frame).faces) == 1
        count = len(sent)
        assert len(client.extract(frame).faces) == 1
        assert len(sent) <= count + 1
