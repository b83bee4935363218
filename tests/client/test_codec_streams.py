"""A session of a moving face through both clients."""

from collections.abc import AsyncIterator

import numpy as np
import pytest

from semface.client import AsyncClient, CallError, Client, FrameState, Moment
from semface.descriptors import Portion
from semface.errors import Reason
from tests.codec.faces import faces

STILL = np.repeat(faces(1), 3, axis=0)


async def one_by_one(items: list) -> AsyncIterator:  # type: ignore[type-arg]
    for item in items:
        yield item


async def test_a_moving_face_goes_round_and_a_lost_frame_is_held(address: str) -> None:
    async with AsyncClient(address) as client:
        sent = [frame async for frame in client.encode_stream(one_by_one(list(STILL)), quality="high")]
        data = [sent[0].data, None, sent[2].data]
        shown = [face async for face in client.decode_stream(one_by_one(data))]
    assert [frame.key for frame in sent] == [True, False, False]
    assert {frame.quality_name for frame in sent} == {"high"}
    assert [face.state for face in shown] == [FrameState.DECODED, FrameState.CONCEALED, FrameState.CONCEALED]
    assert shown[2].face is not None
    assert shown[2].face.portions == Portion.ALL


def test_the_blocking_client_makes_the_same_frames(address: str) -> None:
    with Client(address) as client:
        sent = list(client.encode_stream(STILL, portions=Portion.EXPRESSION))
        shown = list(client.decode_stream(frame.data for frame in sent[1:] + sent[:1]))
    assert [frame.payload_bits.keys() for frame in sent] == 3 * [{Portion.EXPRESSION}]
    assert [face.state for face in shown] == [FrameState.WAITING, FrameState.WAITING, FrameState.DECODED]
    assert shown[0].face is None


async def test_a_receiver_that_asks_for_a_key_gets_one(address: str) -> None:
    moments = [STILL[0], STILL[1], Moment(STILL[2], refresh=True)]
    async with AsyncClient(address) as client:
        sent = [frame async for frame in client.encode_stream(one_by_one(moments))]
        shown = [face async for face in client.decode_stream(one_by_one([sent[1].data, sent[2].data]))]
    assert [frame.key for frame in sent] == [True, False, True]
    assert sent[2].payload_bits.keys() == set(Portion.ALL)
    assert [face.state for face in shown] == [FrameState.WAITING, FrameState.DECODED]


async def test_a_stream_that_cannot_be_is_refused_by_its_reason(address: str) -> None:
    async with AsyncClient(address) as client:
        answers = client.encode_stream(one_by_one(list(STILL[:1])), portions=Portion.IDENTITY)
        with pytest.raises(CallError) as caught:
            await anext(answers)
    assert caught.value.reason is Reason.FIELD_INVALID
