"""Typed clients of the services: arrays in, arrays out, deadlines, errors as exceptions by reason.

::

    async with AsyncClient("127.0.0.1:8100") as client:
        face = (await client.extract(photograph)).largest
        frame = (await client.encode(face.descriptors)).frames[0]
        answer = await client.recognize(frame.data)

``Client`` has the same methods without ``await``.
"""

from semface.client.answers import (
    Comparison,
    DecodedFace,
    Decoding,
    Embedding,
    Encoding,
    Extraction,
    Face,
    Frame,
    FrameState,
    Model,
    Recognition,
    ScanReading,
    ShownFace,
    Timings,
    Understanding,
    UnderstoodFace,
)
from semface.client.calls import Moment
from semface.client.channel import AsyncClient, Client
from semface.client.errors import CallError

__all__ = [
    "AsyncClient",
    "CallError",
    "Client",
    "Comparison",
    "DecodedFace",
    "Decoding",
    "Embedding",
    "Encoding",
    "Extraction",
    "Face",
    "Frame",
    "FrameState",
    "Model",
    "Moment",
    "Recognition",
    "ScanReading",
    "ShownFace",
    "Timings",
    "Understanding",
    "UnderstoodFace",
]
