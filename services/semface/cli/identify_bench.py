"""How fast identify and verify answer through HTTP, how fast an index is ready, and what a subject takes in Redis.

One run holds everything: the same machine, the same event loop, times of what is compared taken in turns.
"""

import asyncio
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from semface.cli.bare_path import Question, ask, bare_server
from semface.cli.embedded_store import embedded_store
from semface.cli.stack import StackSettings, running_stack
from semface.client import AsyncClient, Model
from semface.codec.core import Codec
from semface.descriptors import Portion
from semface.evaluation.codec_bench import draw_faces
from semface.evaluation.embedding_population import measure_population, split_population
from semface.evaluation.pictures import PictureArchive
from semface.evaluation.serving_path import ServingPath
from semface.evaluation.verification import Pairs
from semface.gateway.enrolled.directory import TenantDirectory
from semface.gateway.enrolled.index import TemplateIndex
from semface.gateway.enrolled.key_ring import KeyRing, new_master_key, open_key_ring
from semface.gateway.enrolled.record import Details, make_record
from semface.gateway.enrolled.saved_index import SavedIndexes
from semface.gateway.enrolled.store import AuditEvent, EnrolledStore, StreamLengths
from semface.inference import Engine, open_engine
from semface.understanding.core import Understanding

SEED: Final = 1
FITTED_FACES: Final = 2000
BATCH: Final = 500
TENANT: Final = "default"
EVENT: Final = AuditEvent("import", "bench")
RECALL_PROBES: Final = 400
WARM_UP: Final = 20

Vectors = NDArray[np.float32]
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What is measured: how many are enrolled, up to how many a search is exact, how often each time is taken."""

    subjects: int
    exact_limit: int
    rounds: int
    same_cosine: float
    """Of two pictures of one person, where no pictures tell."""
    pictures: tuple[PictureArchive, Pairs] | None = None
    """Pictures and their pairs, to which templates and probes are fitted."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is enrolled and asked for: unit templates (N, 512), probes (M, 512), a bitstream of somebody's identity."""

    templates: Vectors
    probes: Vectors
    frame: bytes
    model: Model
    same_cosine_mean: float
    pictures: int


@dataclass(frozen=True, slots=True)
class IdentifyFigures:
    """What ``semface bench identify`` prints."""

    subjects: int
    screened: bool
    """Whether a first pass left out who cannot be among the best; else every template was compared whole."""
    measured_pictures: int
    """Pictures to which templates and probes were fitted; 0 where the spread of a person was assumed."""
    same_cosine_mean: float
    """Of a template and another picture of its person."""
    enroll_seconds: float
    redis_bytes_per_subject: float
    """Growth of Redis' used memory over the subjects, records, changes and audit entries together."""
    index_from_redis_seconds: float
    """From nothing to the first answer, all read from Redis."""
    index_from_file_seconds: float
    """The same from the saved, encrypted index."""
    index_save_seconds: float
    index_file_megabytes: float
    search_p50_ms: float
    """The search alone, with the question to Redis for what has changed."""
    search_p99_ms: float
    recall_at_1: float
    """Share of probes whose best match is that of an exact search of the same templates."""
    identify_p50_ms: float
    """A bitstream through HTTP."""
    identify_p99_ms: float
    verify_p50_ms: float
    """A bitstream through HTTP."""
    bare_p50_ms: float
    """A bare FastAPI that makes one gRPC echo and one Redis GET, in the same event loop, in turns with the above."""
    verify_over_bare: float
    verify_processor_ms: float
    """Processor time of one verification, gateway and services: a busy machine changes it less."""
    bare_processor_ms: float
    verify_over_bare_processor: float

    def as_dict(self) -> dict[str, Any]:
        """Return the figures by name."""
        return asdict(self)


async def measure_identification(options: BenchOptions, described: Progress, enrolled: Progress) -> IdentifyFigures:
    """Enrol in an embedded Valkey and measure; ``described`` is told of each picture, ``enrolled`` of each subject."""
    drawn = await _draw(options, described)
    with tempfile.TemporaryDirectory(prefix="semface-bench-") as folder, embedded_store(None) as url:
        saved, ring_path, master_key = (
            SavedIndexes(Path(folder) / "index"),
            Path(folder) / "ring.json",
            new_master_key(),
        )
        times = await _in_process(options, drawn, url, open_key_ring(ring_path, master_key), saved, enrolled)
        environment = {
            "SEMFACE_REDIS_URL": url,
            "SEMFACE_KEY_RING": str(ring_path),
            "SEMFACE_MASTER_KEY": master_key,
            "SEMFACE_HTTP_PORT": "0",
            "SEMFACE_INDEX_FOLDER": str(saved.folder),
            # One more, the one that is verified, is enrolled over HTTP.
            "SEMFACE_EXACT_LIMIT": str(options.exact_limit + 1),
            "SEMFACE_VERIFY_PER_MINUTE": "1000000",
            "SEMFACE_LOG_LEVEL": "error",
        }
        os.environ.update(environment)
        over_http = await _over_http(StackSettings(port=0), url, drawn.frame, options.rounds)
    return IdentifyFigures(
        subjects=options.subjects,
        measured_pictures=drawn.pictures,
        same_cosine_mean=drawn.same_cosine_mean,
        **times,
        **over_http,
    )


async def _draw(options: BenchOptions, described: Progress) -> Drawn:
    settings = StackSettings(port=0)
    engine = open_engine(settings)
    try:
        frame, model, faces = await _prior_faces(engine, settings.model_repository)
        if options.pictures is None:
            population, pictures = split_population(faces, options.same_cosine), 0
        else:
            path = ServingPath(engine, settings.model_repository)
            population = await measure_population(path, *options.pictures, described)
            pictures = len(options.pictures[1].stems)
    finally:
        await engine.close()
    templates, rows, probes = population.draw(options.subjects, max(options.rounds, RECALL_PROBES), SEED)
    cosine = float(np.mean(np.sum(templates[rows] * probes, axis=1)))
    return Drawn(templates, probes, frame, model, cosine, pictures)


async def _prior_faces(engine: Engine, repository: Path) -> tuple[bytes, Model, Vectors]:
    """Return a bitstream of identity alone, the model that embeds, and embeddings (N, 512) of the codec's prior."""
    codec, understanding = Codec(engine, repository), Understanding(engine)
    quality = codec.quality(None)
    faces = await draw_faces(engine, quality, FITTED_FACES, SEED)
    starts = range(0, len(faces), 250)
    embeddings = np.concatenate([await understanding.embeddings(faces[start : start + 250]) for start in starts])
    (frame,) = await codec.encode(faces[:1], quality.index, Portion.IDENTITY)
    made_by = understanding.verification_model
    return frame, Model(made_by.name, made_by.version, int(made_by.hash[:16], 16)), embeddings


async def _in_process(
    options: BenchOptions, drawn: Drawn, url: str, ring: KeyRing, saved: SavedIndexes, enrolled: Progress
) -> dict[str, Any]:
    """Enrol, read the index from Redis and from its file, search; return figures by name."""
    store = EnrolledStore(url, 60.0, ring, StreamLengths(10_000, 100_000))
    before = int((await store.redis.info("memory"))["used_memory"])
    started = time.perf_counter()
    await _enroll(store, drawn, enrolled)
    figures: dict[str, Any] = {"enroll_seconds": time.perf_counter() - started}
    grown = int((await store.redis.info("memory"))["used_memory"]) - before
    figures["redis_bytes_per_subject"] = grown / options.subjects
    directory = TenantDirectory(store, TENANT, options.exact_limit, saved)
    figures["index_from_redis_seconds"] = await _seconds(directory, drawn.probes[:1], drawn.model)
    started = time.perf_counter()
    await directory.save()
    figures["index_save_seconds"] = time.perf_counter() - started
    # A second one beside it would double the memory.
    directory = TenantDirectory(store, TENANT, options.exact_limit, saved)
    figures["index_from_file_seconds"] = await _seconds(directory, drawn.probes[:1], drawn.model)
    figures["index_file_megabytes"] = saved.path(TENANT).stat().st_size / 1e6
    times = [
        await _seconds(directory, drawn.probes[place : place + 1], drawn.model)
        for place in range(min(options.rounds, len(drawn.probes)))
    ]
    figures |= {"search_p50_ms": _percentile(times, 50), "search_p99_ms": _percentile(times, 99)}
    figures["screened"] = directory.index.screened
    figures["recall_at_1"] = _recall(directory.index, store, drawn.probes[:RECALL_PROBES])
    await store.close()
    return figures


async def _enroll(store: EnrolledStore, drawn: Drawn, progress: Progress) -> None:
    protection, details = store.protection(TENANT), Details(time.time())
    for start in range(0, len(drawn.templates), BATCH):
        rows = enumerate(drawn.templates[start : start + BATCH], start)
        batch = [make_record(f"s{number:07d}", row, drawn.model, details, protection) for number, row in rows]
        await store.put_many(TENANT, batch, EVENT)
        progress(len(batch))


async def _seconds(directory: TenantDirectory, probe: Vectors, model: Model) -> float:
    started = time.perf_counter()
    await directory.search(probe, model, -1.0, 5, None)
    return time.perf_counter() - started


def _recall(index: TemplateIndex, store: EnrolledStore, probes: Vectors) -> float:
    """Return the share of ``probes`` (N, 512) for which ``index`` finds first what an exact search finds first."""
    protection = store.protection(TENANT)
    mapped = protection.mapped(probes, protection.active)
    truth, best = [""] * len(probes), np.full(len(probes), -np.inf)
    for entries in index.entries_in_parts(BATCH * 20):
        vectors = np.stack([entry.codes for entry in entries]).astype(np.float32)
        scores = vectors @ mapped.T / np.linalg.norm(vectors, axis=1, keepdims=True)
        for place, row in enumerate(scores.argmax(axis=0)):
            if scores[row, place] > best[place]:
                best[place], truth[place] = scores[row, place], entries[row].subject
    found = index.search(mapped, -1.0, 1, None)
    return float(np.mean([bool(one) and one[0][0] == right for one, right in zip(found, truth, strict=True)]))


async def _over_http(settings: StackSettings, redis_url: str, frame: bytes, rounds: int) -> dict[str, Any]:
    """Ask gateway and bare path through HTTP; return figures by name."""
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawning) as caller:
        async with running_stack(settings) as stack, bare_server(redis_url) as bare_port:
            async with AsyncClient(stack.grpc_address) as client:
                await client.serving("semface.v1.UnderstandingService")
            gateway = int(stack.gateway_url.rpartition(":")[2])
            verify = Question(gateway, "POST", "/v1/subjects/probe/verify", frame)
            identify, bare = (
                Question(gateway, "POST", "/v1/identify", frame),
                Question(bare_port, "POST", "/bare", frame),
            )
            await _ask(caller, [Question(gateway, "PUT", "/v1/subjects/probe", frame)], 1)
            # One after the other: the first of many subjects takes a minute, in which the others' connections close.
            for one in (identify, verify, bare):
                await _ask(caller, [one], WARM_UP)
            (identified,), _ = await _ask(caller, [identify], rounds)
            (verified, plain), _ = await _ask(caller, [verify, bare], rounds)
            _, verify_processor = await _ask(caller, [verify], rounds)
            _, bare_processor = await _ask(caller, [bare], rounds)
    return {
        "identify_p50_ms": _percentile(identified, 50),
        "identify_p99_ms": _percentile(identified, 99),
        "verify_p50_ms": _percentile(verified, 50),
        "bare_p50_ms": _percentile(plain, 50),
        "verify_over_bare": _percentile(verified, 50) / _percentile(plain, 50),
        "verify_processor_ms": verify_processor,
        "bare_processor_ms": bare_processor,
        "verify_over_bare_processor": verify_processor / bare_processor,
    }


async def _ask(caller: Executor, questions: list[Question], rounds: int) -> tuple[list[list[float]], float]:
    """Return the seconds of each answer, and this process's milliseconds of processor time for one."""
    before = time.process_time()
    seconds = await asyncio.get_running_loop().run_in_executor(caller, ask, questions, rounds)
    return seconds, 1e3 * (time.process_time() - before) / (rounds * len(questions))


def _percentile(seconds: list[float], percent: float) -> float:
    return 1e3 * float(np.percentile(seconds, percent))
