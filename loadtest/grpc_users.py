"""Users of the gRPC services: senders make bitstreams, receivers understand them."""

import os
import random
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import grpc
from grpc.experimental import gevent as grpc_gevent

from loadtest.acting import ActingUser
from loadtest.payloads import prepare
from semface.v1 import (
    codec_pb2,
    codec_pb2_grpc,
    extraction_pb2,
    extraction_pb2_grpc,
    understanding_pb2,
    understanding_pb2_grpc,
)

BATCH = 32
CLIP = 5
"""Frames that a sender extracts in one stream."""

SECONDS = 60.0


@cache
def shared_channel(address: str, ca: str, certificate: str, key: str) -> grpc.Channel:
    """Return this process's channel to ``address``, with certificates where ``ca`` is named.

    gRPC is told of gevent first: without, every call of the process waits for the one before it.
    """
    grpc_gevent.init_gevent()
    if not ca:
        return grpc.insecure_channel(address)
    files = [Path(name).read_bytes() if name else None for name in (ca, key, certificate)]
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(*files))


class GrpcUser(ActingUser):
    """Has stubs and something to send."""

    abstract = True

    def __init__(self, environment: Any) -> None:
        """Share the process's channel, as one back end with many requests does."""
        super().__init__(environment)
        options = self.options
        channel = shared_channel(options.grpc, options.ca, options.grpc_certificate, options.grpc_key)
        self.payloads = prepare(channel, options.photograph)
        key = os.environ.get("SEMFACE_API_KEY")
        self.call: dict[str, Any] = {
            "timeout": SECONDS,
            "metadata": (("authorization", f"Bearer {key}"),) if key else None,
        }
        self.extraction = extraction_pb2_grpc.ExtractionServiceStub(channel)
        self.codec = codec_pb2_grpc.CodecServiceStub(channel)
        self.understanding = understanding_pb2_grpc.UnderstandingServiceStub(channel)


class SenderUser(GrpcUser):
    """Turns photographs and video into bitstreams."""

    actions: ClassVar = {"send_photograph": 6, "send_face": 3, "send_video": 1}

    def send_photograph(self) -> None:
        """Extract a photograph, then encode what was found."""
        request = extraction_pb2.ExtractRequest(image=random.choice(self.payloads.photographs))
        found = self.report.grpc("extract", lambda: self.extraction.Extract(request, **self.call))
        if found is not None:
            faces = [face.descriptors for face in found.faces]
            coding = codec_pb2.EncodeRequest(faces=faces)
            self.report.grpc("encode", lambda: self.codec.Encode(coding, **self.call))

    def send_face(self) -> None:
        """Encode numbers that are there already."""
        request = codec_pb2.EncodeRequest(faces=[self.payloads.face])
        self.report.grpc("encode", lambda: self.codec.Encode(request, **self.call))

    def send_video(self) -> None:
        """Extract some frames in one stream, and encode them in another."""
        pictures = random.choices(self.payloads.photographs, k=CLIP)
        frames = (extraction_pb2.ExtractStreamRequest(image=picture) for picture in pictures)
        found = self.report.grpc("extract stream", lambda: self.extraction.ExtractStream(frames, **self.call))
        faces = [answer.faces[0].descriptors for answer in found or () if answer.faces]
        if faces:
            moments = (codec_pb2.EncodeStreamRequest(face=face) for face in faces)
            self.report.grpc("encode stream", lambda: self.codec.EncodeStream(moments, **self.call))


class ReceiverUser(GrpcUser):
    """Answers from bitstreams: one by one, in batches, from a session."""

    actions: ClassVar = {"understand": 14, "understand_batch": 3, "decode": 2, "watch": 1}

    def understand(self) -> None:
        """Expression and embedding of one face."""
        self.report.grpc("understand", lambda: self.understanding.Understand(self._request(1), **self.call))

    def understand_batch(self) -> None:
        """The same of 32 faces in one call."""
        name = f"understand {BATCH}"
        self.report.grpc(name, lambda: self.understanding.Understand(self._request(BATCH), **self.call))

    def decode(self) -> None:
        """The numbers of one face."""
        request = codec_pb2.DecodeRequest(frames=[self.payloads.bitstream])
        self.report.grpc("decode", lambda: self.codec.Decode(request, **self.call))

    def watch(self) -> None:
        """A second of a talking face, in one stream."""
        frames = (codec_pb2.DecodeStreamRequest(frame=frame) for frame in self.payloads.session)
        self.report.grpc("decode stream", lambda: self.codec.DecodeStream(frames, **self.call))

    def _request(self, count: int) -> understanding_pb2.UnderstandRequest:
        face = understanding_pb2.FaceSource(bitstream=self.payloads.bitstream)
        return understanding_pb2.UnderstandRequest(faces=[face] * count)
