"""A moving picture through the asynchronous client, frame by frame."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from semface.client import AsyncClient, CallError
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
