"""Who calls the services: messages sent over a channel, and how a call failed."""

from dataclasses import dataclass, field

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status

from semface.errors import DOMAIN
from semface.messages import pack_descriptors
from semface.v1 import codec_pb2 as codec
from semface.v1 import descriptors_pb2 as shared
from semface.v1 import extraction_pb2 as extraction
from semface.v1 import understanding_pb2 as understanding
from tests.services.stack import photograph

VALUES = np.random.default_rng(11).normal(0, 0.5, 257).astype(np.float32)
WHOLE = pack_descriptors(VALUES)

EXTRACT = ("semface.v1.ExtractionService", "Extract")
ENCODE = ("semface.v1.CodecService", "Encode")
DECODE = ("semface.v1.CodecService", "Decode")
RECOGNIZE = ("semface.v1.ExpressionService", "Recognize")
EMBED = ("semface.v1.VerificationService", "Embed")
COMPARE = ("semface.v1.VerificationService", "Compare")
UNDERSTAND = ("semface.v1.UnderstandingService", "Understand")


def described(face: shared.Descriptors) -> understanding.FaceSource:
    return understanding.FaceSource(descriptors=face)


@dataclass
class Refusal:
    """How a call failed."""

    code: grpc.StatusCode
    reason: str | None = None
    fields: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, error: grpc.RpcError) -> "Refusal":
        """Read the status of a failed call, which may have details."""
        trailers = dict(error.trailing_metadata() or ())
        refused = cls(error.code())
        if "grpc-status-details-bin" in trailers:
            status = Status.FromString(trailers["grpc-status-details-bin"])
            info, bad = ErrorInfo(), BadRequest()
            assert sum(detail.Unpack(info) for detail in status.details) == 1
            assert info.domain == DOMAIN
            refused.reason = info.reason
            if any(detail.Unpack(bad) for detail in status.details):
                refused.fields = [violation.field for violation in bad.field_violations]
        return refused


class Caller:
    """Sends messages and tells what came back."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def send(self, service: str, method: str, request: Message | bytes, seconds: float | None = 10) -> bytes:
        """Return the answer's bytes to ``request``, which may be no message at all."""
        data = request if isinstance(request, bytes) else request.SerializeToString()
        return bytes(self._channel.unary_unary(f"/{service}/{method}")(data, timeout=seconds))

    def refusal(self, service: str, method: str, request: Message | bytes, seconds: float | None = 10) -> Refusal:
        """Return how the call fails; it has to."""
        with pytest.raises(grpc.RpcError) as caught:
            self.send(service, method, request, seconds)
        return Refusal.of(caught.value)

    def succeeds(self) -> None:
        """Send a good request to every service."""
        image = extraction.ExtractRequest(image=photograph("astronaut.png"))
        faces = extraction.ExtractResponse.FromString(self.send(*EXTRACT, image)).faces
        assert len(faces) == 1
        self.send(*RECOGNIZE, understanding.RecognizeRequest(face=described(faces[0].descriptors)))
        self.frame(faces[0].descriptors)

    def frame(self, face: shared.Descriptors = WHOLE) -> codec.Frame:
        """Return ``face`` coded."""
        answer = codec.EncodeResponse.FromString(self.send(*ENCODE, codec.EncodeRequest(faces=[face])))
        return answer.frames[0]
