"""What goes wrong is told by the error table, over a real channel."""

import json

import grpc
import pytest
import structlog

from semface.errors import Reason
from semface.v1 import codec_pb2, codec_pb2_grpc
from tests.rpc.conftest import SECRET, Running, refusal

NO_MESSAGE = b"\xff\xff\xff\xff"


@pytest.mark.parametrize("reason", list(Reason), ids=lambda reason: reason.name)
async def test_every_reason_arrives_with_its_code_and_one_error_info(service: Running, reason: Reason) -> None:
    refused = await refusal(service.ask(reason.name))
    assert refused.code is grpc.StatusCode[reason.answer.code]
    assert refused.reason == reason.name
    assert refused.status.code == refused.code.value[0]
    assert refused.status.message == refused.message


async def test_the_field_at_fault_is_named(service: Running) -> None:
    refused = await refusal(service.ask("DESCRIPTOR_SHAPE"))
    assert refused.fields == ["face.descriptors"]
    assert refused.retry_seconds is None


@pytest.mark.parametrize("reason", ["OVERLOADED", "RATE_LIMITED"])
async def test_who_is_shed_is_told_when_to_come_again(service: Running, reason: str) -> None:
    refused = await refusal(service.ask(reason))
    assert refused.retry_seconds is not None
    assert refused.retry_seconds > 0


@pytest.mark.parametrize("method", ["ExpressionService/Recognize", "CodecService/Decode"])
async def test_a_message_that_is_no_protobuf_is_refused_and_the_next_is_served(service: Running, method: str) -> None:
    refused = await refusal(service.channel.unary_unary(f"/semface.v1.{method}")(NO_MESSAGE))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert refused.reason == "MESSAGE_MALFORMED"
    assert service.obedient.entered == 0
    await service.ask()


async def test_a_message_that_is_no_protobuf_ends_its_stream_only(service: Running) -> None:
    stream = service.channel.stream_stream("/semface.v1.CodecService/DecodeStream")()
    await stream.write(codec_pb2.DecodeStreamRequest(frame=b"ab").SerializeToString())
    assert codec_pb2.DecodeStreamResponse.FromString(await stream.read()).face.quality_name == "ba"
    await stream.write(NO_MESSAGE)
    assert (await refusal(stream.read())).reason == "MESSAGE_MALFORMED"
    await service.ask()


async def test_an_error_in_a_stream_ends_it_with_its_reason(service: Running) -> None:
    stream = codec_pb2_grpc.CodecServiceStub(service.channel).DecodeStream()
    await stream.write(codec_pb2.DecodeStreamRequest(frame=b"corrupt"))
    refused = await refusal(stream.read())
    assert (refused.reason, refused.fields) == ("BITSTREAM_CORRUPT", ["frame"])


async def test_an_unknown_method_is_unimplemented(service: Running) -> None:
    refused = await refusal(service.channel.unary_unary("/semface.v1.ExpressionService/Guess")(b""))
    assert refused.code is grpc.StatusCode.UNIMPLEMENTED


async def test_a_declared_method_that_is_not_served_is_unimplemented(service: Running) -> None:
    stub = codec_pb2_grpc.CodecServiceStub(service.channel)
    assert (await refusal(stub.Encode(codec_pb2.EncodeRequest()))).code is grpc.StatusCode.UNIMPLEMENTED
    stream = stub.EncodeStream()
    await stream.done_writing()
    assert (await refusal(stream.read())).code is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("what", ["defect", "nothing"])
async def test_a_defect_is_logged_by_its_id_leaks_nothing_and_the_next_call_is_served(
    service: Running, what: str
) -> None:
    with structlog.testing.capture_logs() as logs:
        refused = await refusal(service.ask(what))
    (defect,) = [entry for entry in logs if entry["event"] == "defect"]
    assert refused.code is grpc.StatusCode.INTERNAL
    assert refused.reason == "INTERNAL"
    assert defect["error_id"] in refused.message
    assert defect["exception"] == {"defect": "ValueError", "nothing": "TypeError"}[what]
    assert defect["trace"]
    assert SECRET not in refused.text + json.dumps(logs)
    await service.ask()
