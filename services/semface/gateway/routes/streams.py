"""A moving face over WebSockets: photographs in and frames out; frames in, and what they say out."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Query, WebSocket
from pydantic import BaseModel
from starlette.websockets import WebSocketDisconnect, WebSocketState

from semface.access.callers import Scope
from semface.descriptors import GROUPS, PORTION_GROUPS, portion_names
from semface.errors import Reason, SemfaceError
from semface.gateway import answers, streaming
from semface.gateway.dependencies import Parts, PortionNames, Quality, read_portions, read_quality
from semface.gateway.fairness import StreamTurns
from semface.gateway.problems import describe
from semface.gateway.provenance import describe_model
from semface.gateway.security import SUBPROTOCOL, admit_websocket
from semface.morphable.blendshapes import decoded_weights

router = APIRouter(prefix="/v1/stream")

PRIVATE_CLOSE_CODES = 4000
"""A stream that a problem ends is closed with the problem's HTTP status above this, such as 4401."""
MAX_FRAME_BYTES = 1024
"""No bitstream frame is longer."""


@router.websocket("/send")
async def send(websocket: WebSocket, quality: Quality = None, portion: PortionNames = None) -> None:
    """Take photographs of a moving face; answer of each what was seen, and its frame."""
    app: Parts = websocket.app.state.parts

    async def talk(turns: StreamTurns) -> None:
        asked = streaming.Refresh()
        photographs = _in_turn(_photographs(websocket, asked, app.settings.http_max_image_bytes), turns)
        chosen = read_quality(quality, None), read_portions(portion)
        number = 0
        async for sent in streaming.send(app.services, photographs, asked, *chosen):
            # Whoever reads slowly keeps no place from others.
            await turns.end()
            await _tell(websocket, app, describe_sent(number, sent))
            if sent.frame is not None:
                await websocket.send_bytes(sent.frame.data)
            number += 1

    await _serve(websocket, app, talk)


@router.websocket("/receive")
async def receive(
    websocket: WebSocket,
    blendshapes: Annotated[bool, Query(description="Also tell ARKit's 52 weights of the expression.")] = False,
) -> None:
    """Take the frames of a moving face, an empty one for each that was lost; answer of each what is known then."""
    app: Parts = websocket.app.state.parts

    async def talk(turns: StreamTurns) -> None:
        number = 0
        async for shown in streaming.receive(app.services, _in_turn(_frames(websocket), turns)):
            await turns.end()
            await _tell(websocket, app, await describe_shown(number, shown, blendshapes=blendshapes))
            number += 1

    await _serve(websocket, app, talk)


def describe_sent(number: int, sent: streaming.Sent) -> answers.StreamSent:
    """Return what is told of one photograph."""
    extraction, face, frame = sent.extraction, sent.face, sent.frame
    box = None
    if face is not None:
        x0, y0, x1, y1 = face.box.tolist()
        box = answers.Box(x0=x0, y0=y0, x1=x1, y1=y1)
    return answers.StreamSent(
        number=number,
        width=extraction.width,
        height=extraction.height,
        faces=len(extraction.faces),
        box=box,
        quality=None if face is None else face.quality,
        key=None if frame is None else frame.key,
        bits=None if frame is None else answers.describe_bits(frame),
        coded_at=None if frame is None else frame.quality_name,
        models=[describe_model(model) for model in extraction.models] if number == 0 else None,
        milliseconds={
            "queue": round(extraction.timings.queue_ms, 3),
            "extract": round(extraction.timings.total_ms, 3),
            "encode": round(sent.encode_ms, 3),
        },
    )


async def describe_shown(number: int, shown: streaming.Shown, *, blendshapes: bool) -> answers.StreamShown:
    """Return what is told of one frame: the face only where the frame said something new."""
    face = shown.face.face if shown.meaning is not None else None
    weights = None
    if face is not None and blendshapes:
        weights = await asyncio.to_thread(decoded_weights, face.descriptors, face.portions)
    names = [] if face is None else [name for portion in face.portions for name in PORTION_GROUPS[portion]]
    return answers.StreamShown(
        number=number,
        state=shown.face.state.name.lower(),
        bits=8 * len(shown.frame),
        portions=[] if face is None else portion_names(face.portions),
        descriptors=None if face is None else {name: face.descriptors[GROUPS[name]].tolist() for name in names},
        blendshapes=weights,
        expression=None if shown.meaning is None else answers.expression(shown.meaning),
        models=shown.provenance.models if number == 0 else None,
        milliseconds=shown.provenance.milliseconds,
    )


async def _serve(websocket: WebSocket, app: Parts, talk: Callable[[StreamTurns], Awaitable[None]]) -> None:
    """Admit the caller and ``talk`` until one of the two leaves; a problem is told before the stream is closed."""
    offered = SUBPROTOCOL if SUBPROTOCOL in websocket.scope["subprotocols"] else None
    await websocket.accept(offered)
    try:
        caller = await admit_websocket(app.gate, websocket, Scope.FACES)
        with app.metrics.streams.labels(_name(websocket)).track_inprogress():
            async with app.gate.turns.stream(websocket.scope["path"], caller.tenant) as turns:
                await talk(turns)
    except WebSocketDisconnect:
        return
    except SemfaceError as error:
        await _end(websocket, error)


async def _end(websocket: WebSocket, error: SemfaceError) -> None:
    told = describe(error)
    # Whoever has left is told nothing.
    with suppress(WebSocketDisconnect, RuntimeError):
        if websocket.application_state is WebSocketState.CONNECTED:
            await websocket.send_text(json.dumps({"problem": told.model_dump(exclude_none=True)}))
            await websocket.close(PRIVATE_CLOSE_CODES + told.status, told.reason)


async def _in_turn(messages: AsyncIterator[bytes], turns: StreamTurns) -> AsyncIterator[bytes]:
    """Yield each of ``messages`` when it is its turn."""
    async for message in messages:
        await turns.take(len(message))
        yield message


async def _photographs(websocket: WebSocket, asked: streaming.Refresh, most_bytes: int) -> AsyncIterator[bytes]:
    """Yield the binary messages; a text one asks for a key frame."""
    while True:
        message = await _message(websocket)
        data = message.get("bytes")
        if data is None:
            _obey(message.get("text") or "", asked)
        elif len(data) > most_bytes:
            raise SemfaceError(Reason.IMAGE_TOO_LARGE, f"the photograph is longer than {most_bytes} bytes")
        else:
            yield data


async def _frames(websocket: WebSocket) -> AsyncIterator[bytes]:
    while True:
        data = (await _message(websocket)).get("bytes")
        if data is None:
            raise SemfaceError(Reason.MESSAGE_MALFORMED, "send each frame as a binary message, an empty one where lost")
        if len(data) > MAX_FRAME_BYTES:
            raise SemfaceError(Reason.BITSTREAM_TOO_LARGE, f"a frame is no longer than {MAX_FRAME_BYTES} bytes")
        yield data


async def _message(websocket: WebSocket) -> dict[str, Any]:
    message = await websocket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    return dict(message)


def _obey(text: str, asked: streaming.Refresh) -> None:
    try:
        control = json.loads(text)
    except (ValueError, RecursionError):
        control = None
    if control != {"refresh": True}:
        message = 'send each photograph as a binary message; the one text message is {"refresh": true}'
        raise SemfaceError(Reason.MESSAGE_MALFORMED, message)
    asked.wanted = True


async def _tell(websocket: WebSocket, app: Parts, answer: BaseModel) -> None:
    await websocket.send_text(answer.model_dump_json(exclude_none=True))
    app.metrics.stream_answers.labels(_name(websocket)).inc()


def _name(websocket: WebSocket) -> str:
    """Return ``send`` or ``receive``."""
    return str(websocket.scope["path"]).rpartition("/")[2]
