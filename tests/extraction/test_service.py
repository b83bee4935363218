"""The extraction service over a real channel."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image, ImageFilter, ImageOps

from semface.descriptors import DESCRIPTOR_SIZE
from semface.evaluation.scan_recognition import ply
from semface.extraction.alignment import CROP_SCALE
from semface.extraction.core import MODELS, Extractor, Face
from semface.extraction.image import ImageLimits
from semface.extraction.scans.core import ScanReader
from semface.extraction.service import ExtractionService, services
from semface.extraction.settings import ExtractionSettings
from semface.inference import Engine
from semface.inference.embedded import EmbeddedEngine
from semface.messages import unpack_descriptors
from semface.rpc.server import Server, Service
from semface.v1 import extraction_pb2, extraction_pb2_grpc
from tests.extraction.conftest import Pixels
from tests.extraction.scans.heads import ball, head
from tests.extraction.test_image import encoded, one_bit_png
from tests.rpc.conftest import eventually
from tests.tiny_models import build_tiny_repository
from tests.triton_server import BOTH_ENGINES, open_test_engine

Stub = Any
"""The asynchronous stub has no type of its own at run time."""

MAX_IMAGE_BYTES = 800_000
EXTRACT = "/semface.v1.ExtractionService/Extract"


@pytest.fixture(params=BOTH_ENGINES)
async def engine(request: pytest.FixtureRequest, tiny_repository: Path) -> AsyncIterator[Engine]:
    """The real detector and a small describing network, on each engine in turn."""
    opened = open_test_engine(request.param, tiny_repository, request)
    yield opened
    await opened.close()


@pytest.fixture
async def channel(engine: Engine) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a running extraction service."""
    settings = ExtractionSettings(host="127.0.0.1", port=0, max_image_bytes=MAX_IMAGE_BYTES, grace_seconds=0.5)
    server = Server(services(engine, settings), settings)
    port = await server.start()
    await server.wait_until_serving()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened
    await server.stop()


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> Stub:
    """The service's stub."""
    return extraction_pb2_grpc.ExtractionServiceStub(channel)


@pytest.fixture
def portrait(photograph: Pixels) -> bytes:
    """The photograph as PNG."""
    return encoded(Image.fromarray(photograph), "PNG")


def reason_of(error: grpc.aio.AioRpcError) -> str:
    status = Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])  # type: ignore[arg-type]
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    return info.reason


async def test_a_photograph_comes_back_as_faces_with_all_that_draws_and_describes_them(
    stub: Stub, portrait: bytes
) -> None:
    answer = await stub.Extract(extraction_pb2.ExtractRequest(image=portrait), timeout=10)
    (face,) = answer.faces
    assert (answer.image_width, answer.image_height) == (512, 512)
    assert face.confidence > 0.99
    assert 0 < face.quality <= 1
    assert face.square.side == pytest.approx(CROP_SCALE * (face.box.y1 - face.box.y0), rel=1e-5)
    assert face.square.x0 + face.square.side / 2 == pytest.approx((face.box.x0 + face.box.x1) / 2, abs=1e-3)
    assert len(face.landmarks) == 5
    assert (face.id, face.track_id) == (0, 0)
    assert answer.minimum_quality == pytest.approx(ExtractionSettings().minimum_quality)
    numbers, _ = unpack_descriptors(face.descriptors, "face")
    assert numbers.shape == (DESCRIPTOR_SIZE,)
    assert numbers.any()
    assert [model.name for model in answer.models] == list(MODELS)
    assert all(model.hash for model in answer.models)
    assert 0 < answer.timings.inference_ms <= answer.timings.total_ms


async def test_pictures_sent_at_once_are_answered_as_if_sent_alone(stub: Stub, photograph: Pixels) -> None:
    parts = [np.ascontiguousarray(photograph[:300, left : left + 320]) for left in (40, 70, 100, 130)]
    requests = [extraction_pb2.ExtractRequest(image=encoded(Image.fromarray(part), "PNG")) for part in parts]
    together = await asyncio.gather(*(stub.Extract(request, timeout=20) for request in requests))
    for request, answer in zip(requests, together, strict=True):
        assert (await stub.Extract(request, timeout=20)).faces == answer.faces


class Held(Extractor):
    """The extractor, which waits in each picture until it is let go and counts those that it holds."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.go = asyncio.Event()
        self.held = self.most = 0

    async def extract_some(self, rgb: Pixels) -> list[Face]:
        self.held += 1
        self.most = max(self.most, self.held)
        try:
            await self.go.wait()
            return await super().extract_some(rgb)
        finally:
            self.held -= 1


@asynccontextmanager
async def serving(extractor: Extractor, max_decoding: int) -> AsyncIterator[Stub]:
    """Serve with an extractor of one's own."""
    service = ExtractionService(extractor, ImageLimits(), max_decoding=max_decoding)
    add = partial(extraction_pb2_grpc.add_ExtractionServiceServicer_to_server, service)
    settings = ExtractionSettings(host="127.0.0.1", port=0, grace_seconds=0.5)
    server = Server([Service("semface.v1.ExtractionService", add, extractor.probe)], settings)
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield extraction_pb2_grpc.ExtractionServiceStub(opened)
    await server.stop()


async def test_no_more_pictures_are_decoded_at_once_than_may_and_the_others_wait(
    engine: Engine, portrait: bytes
) -> None:
    extractor, request = Held(engine), extraction_pb2.ExtractRequest(image=portrait)
    async with serving(extractor, max_decoding=2) as stub:
        calls = [asyncio.ensure_future(stub.Extract(request, timeout=20)) for _ in range(5)]
        await eventually(lambda: extractor.held == 2)
        await asyncio.sleep(0.1)
        extractor.go.set()
        answers = await asyncio.gather(*calls)
    assert extractor.most == 2
    assert all(len(answer.faces) == 1 for answer in answers)
    assert max(answer.timings.queue_ms for answer in answers) > 90


async def test_who_waits_to_be_decoded_is_told_when_the_deadline_has_passed(engine: Engine, portrait: bytes) -> None:
    extractor, request = Held(engine), extraction_pb2.ExtractRequest(image=portrait)
    async with serving(extractor, max_decoding=1) as stub:
        first = asyncio.ensure_future(stub.Extract(request, timeout=0.3))
        await eventually(lambda: extractor.held == 1)
        for call in (first, stub.Extract(request, timeout=0.3)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        # Its caller has left, but the picture is still in memory.
        assert extractor.held == 1
        extractor.go.set()
        assert len((await stub.Extract(request, timeout=20)).faces) == 1
        assert extractor.most == 1


def bad_pictures(photograph: Pixels, without_face: Pixels) -> Iterable[tuple[str, bytes]]:
    jpeg = encoded(Image.fromarray(photograph), "JPEG")
    yield "IMAGE_UNDECODABLE", b"no picture at all"
    yield "IMAGE_UNDECODABLE", b""
    yield "IMAGE_UNDECODABLE", jpeg[: len(jpeg) // 2]
    yield "IMAGE_TOO_LARGE", one_bit_png(20_000, 20_000)
    yield "IMAGE_TOO_LARGE", jpeg + bytes(MAX_IMAGE_BYTES)
    yield "NO_FACE", encoded(Image.fromarray(without_face), "JPEG")
    yield "LOW_QUALITY", encoded(Image.fromarray(photograph).filter(ImageFilter.GaussianBlur(7)), "PNG")


async def test_each_bad_picture_has_its_reason_and_the_next_request_succeeds(
    stub: Stub, portrait: bytes, photograph: Pixels, without_face: Pixels
) -> None:
    for reason, data in bad_pictures(photograph, without_face):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Extract(extraction_pb2.ExtractRequest(image=data), timeout=10)
        assert reason_of(caught.value) == reason
    assert len((await stub.Extract(extraction_pb2.ExtractRequest(image=portrait), timeout=10)).faces) == 1


async def test_a_message_that_is_no_protobuf_is_refused(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary(EXTRACT)(b"\x0a\xff\xff\xff\xff\x0f", timeout=10)
    assert reason_of(caught.value) == "MESSAGE_MALFORMED"


async def test_a_passed_deadline_is_told_and_the_next_request_succeeds(stub: Stub, portrait: bytes) -> None:
    request = extraction_pb2.ExtractRequest(image=portrait)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Extract(request, timeout=0.002)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len((await stub.Extract(request, timeout=10)).faces) == 1


async def test_a_face_keeps_its_number_through_a_stream_and_a_frame_without_a_face_is_answered(
    stub: Stub, photograph: Pixels, without_face: Pixels
) -> None:
    frames = [photograph[:300, left : left + 320] for left in (100, 92, 84)]
    frames.insert(1, without_face[:, :320])
    requests = (
        extraction_pb2.ExtractStreamRequest(image=encoded(Image.fromarray(np.ascontiguousarray(frame)), "JPEG"))
        for frame in frames
    )
    answers = [answer async for answer in stub.ExtractStream(iter(requests), timeout=20)]
    assert [answer.frame_number for answer in answers] == [0, 1, 2, 3]
    assert [[face.track_id for face in answer.faces] for answer in answers] == [[1], [], [1], [1]]


def crossing(photograph: Pixels, step: int) -> Pixels:
    """Return a frame in which one face goes to the right before another, mirrored one that goes to the left."""
    portrait = Image.fromarray(photograph[30:190, 140:300])
    frame = Image.new("RGB", (520, 170), (120, 120, 120))
    frame.paste(ImageOps.mirror(portrait), (340 - 20 * step, 5))
    frame.paste(portrait, (20 + 20 * step, 5))
    return np.asarray(frame)


async def test_faces_that_cross_keep_their_numbers_and_stand_in_reading_order(stub: Stub, photograph: Pixels) -> None:
    frames = [encoded(Image.fromarray(crossing(photograph, step)), "PNG") for step in range(17)]
    requests = (extraction_pb2.ExtractStreamRequest(image=frame) for frame in frames)
    answers = [answer async for answer in stub.ExtractStream(iter(requests), timeout=60)]
    for step, answer in enumerate(answers):
        assert [face.id for face in answer.faces] == list(range(len(answer.faces)))
        lefts = [face.box.x0 for face in answer.faces]
        assert lefts == sorted(lefts)
        centres = {face.track_id: (face.box.x0 + face.box.x1) / 2 for face in answer.faces}
        # The one before is seen in every frame; the one behind is hidden for a while.
        assert centres[1] == pytest.approx(105 + 20 * step, abs=20)
        assert centres.keys() <= {1, 2}
        if 2 in centres:
            assert centres[2] == pytest.approx(420 - 20 * step, abs=20)
    seen = [len(answer.faces) for answer in answers]
    assert seen[0] == seen[-1] == 2
    assert min(seen) == 1


async def test_a_frame_that_cannot_be_decoded_ends_the_stream(stub: Stub, portrait: bytes) -> None:
    requests = (extraction_pb2.ExtractStreamRequest(image=data) for data in (portrait, b"no picture", portrait))
    answers = stub.ExtractStream(iter(requests), timeout=20)
    assert len((await answers.read()).faces) == 1
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await answers.read()
    assert reason_of(caught.value) == "IMAGE_UNDECODABLE"


async def test_a_service_without_its_network_is_not_healthy_and_says_why(tmp_path: Path, portrait: bytes) -> None:
    (build_tiny_repository(tmp_path) / "descriptor_extraction" / "1" / "model.onnx").unlink()
    engine = EmbeddedEngine(tmp_path, threads=1)
    settings = ExtractionSettings(host="127.0.0.1", port=0, canary_retry_seconds=0.02, grace_seconds=0.5)
    server = Server(services(engine, settings), settings)
    port = await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await asyncio.sleep(0.2)
        request = health_pb2.HealthCheckRequest(service="semface.v1.ExtractionService")
        health = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=5)
        assert health.status == health_pb2.HealthCheckResponse.NOT_SERVING
        stub = extraction_pb2_grpc.ExtractionServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Extract(extraction_pb2.ExtractRequest(image=portrait), timeout=10)
        assert reason_of(caught.value) == "MODEL_LOADING"
    await server.stop()
    await engine.close()


async def test_a_scan_comes_back_as_the_images_of_its_face_and_what_is_none_has_its_reason(
    trained_engine: EmbeddedEngine,
) -> None:
    extractor = Extractor(trained_engine)
    expected = await ScanReader(extractor).attribute_images(head())
    async with serving(extractor, 1) as stub:
        for scan, reason in ((b"no scan", "SCAN_UNDECODABLE"), (ply(ball()), "NO_FACE")):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.ReadScan(extraction_pb2.ReadScanRequest(scan=scan))
            assert reason_of(refused.value) == reason
        answer = await stub.ReadScan(extraction_pb2.ReadScanRequest(scan=ply(head())))
    images = np.frombuffer(answer.attribute_images, "<f4").reshape(expected.images.shape)
    assert answer.textured
    assert answer.covered == pytest.approx(expected.covered, abs=0.01)
    assert np.abs(images - expected.images).mean() < 0.01
    assert [model.name for model in answer.models] == list(MODELS)
