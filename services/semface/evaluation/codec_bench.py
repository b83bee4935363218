"""How fast the codec is, and how near its payloads come to the entropy of their tables.

The faces are drawn from the frozen prior itself: random symbols by their frequencies, through g_s. So no data is
needed, and what is coded is distributed as the prior says.
"""

import time
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semface.codec.core import Codec
from semface.codec.entropy import FREQUENCY_TOTAL, FrequencyTables, Symbols
from semface.codec.prior import LATENT_SIZE, SYNTHESIS_MODEL, Quality
from semface.descriptors import Descriptors
from semface.evaluation.coding import mean_frame_bits, read_integers
from semface.inference.engine import Engine

SEED: Final = 1
REFERENCE_BITS: Final = 900
"""The quality whose frames come nearest to this many bits is measured where none is named."""

WARM_UP: Final = 20
SAMPLE: Final = 64
"""Faces by which the size of a quality's frames is judged."""


@dataclass(frozen=True, slots=True)
class CodecFigures:
    """What ``semface bench codec`` prints."""

    quality: str
    bits_mean: float
    """Mean length of a frame with all portions, in bits, everything included."""
    encode_decode_p50_ms: float
    """Median time to encode and decode one face alone, networks included, in milliseconds."""
    encode_decode_p99_ms: float
    faces_per_second_batched: float
    """Faces encoded and decoded in one second, handed over in one batch."""
    encode_decode_processor_ms: float
    """Processor time of one face alone, mean: a busy machine does not change it."""
    faces_per_processor_second_batched: float
    """Faces of the batch encoded and decoded in one second of processor time."""
    bits_over_entropy: float
    """Payload bits, checks left out, over Σ −log2 p of the tables, over all portions."""

    def as_dict(self) -> dict[str, str | float]:
        """Return the figures by name."""
        return asdict(self)


async def measure_codec(
    engine: Engine, codec: Codec, quality: str | int | None = None, *, rounds: int = 500, batch: int = 2000
) -> CodecFigures:
    """Measure ``codec``, whose networks run in ``engine``, at ``quality`` or at the one nearest to 900 bits.

    ``rounds`` faces are coded one by one, ``batch`` at once. Raises FIELD_INVALID for an unknown quality.
    """
    chosen = await _nearest(engine, codec) if quality is None else codec.quality(quality)
    faces = await draw_faces(engine, chosen, batch, SEED)
    for face in faces[:WARM_UP]:
        await _once(codec, face, chosen)
    before = time.process_time()
    times = np.array([await _once(codec, face, chosen) for face in faces[np.arange(rounds) % batch]])
    alone = time.process_time() - before
    start, before = time.perf_counter(), time.process_time()
    frames = await codec.encode(faces, chosen.index)
    await codec.decode(frames)
    seconds, processor = time.perf_counter() - start, time.process_time() - before
    _, payload_bits, entropy_bits = read_integers(codec, chosen, frames)
    middle, late = np.percentile(1e3 * times, [50, 99])
    return CodecFigures(
        quality=chosen.name,
        bits_mean=mean_frame_bits(frames),
        encode_decode_p50_ms=float(middle),
        encode_decode_p99_ms=float(late),
        faces_per_second_batched=batch / seconds,
        encode_decode_processor_ms=1e3 * alone / rounds,
        faces_per_processor_second_batched=batch / processor,
        bits_over_entropy=payload_bits / entropy_bits,
    )


async def draw_faces(engine: Engine, quality: Quality, count: int, seed: int) -> Descriptors:
    """Return ``count`` faces (N, 257) drawn from the frozen prior of ``quality``."""
    random = np.random.default_rng(seed)
    latents = np.zeros((count, LATENT_SIZE), np.float32)
    for prior in quality.portions.values():
        latents[:, prior.latents] = prior.dequantise(draw_symbols(prior.tables, count, random))
    return (await engine.infer(SYNTHESIS_MODEL, {"latents": latents}))["descriptors"]


def draw_symbols(tables: FrequencyTables, count: int, random: np.random.Generator) -> Symbols:
    """Return symbols (N, n) drawn by the frequencies of ``tables``."""
    thresholds = random.integers(0, FREQUENCY_TOTAL, (count, len(tables)))
    below: list[NDArray[np.intp]] = [
        np.searchsorted(table.cumsum(), drawn, side="right")
        for table, drawn in zip(tables.frequencies, thresholds.T, strict=True)
    ]
    return np.array(below, np.int32).reshape(len(tables), count).T


async def _nearest(engine: Engine, codec: Codec) -> Quality:
    sizes = []
    for quality in codec.prior.qualities:
        frames = await codec.encode(await draw_faces(engine, quality, SAMPLE, SEED), quality.index)
        sizes.append(mean_frame_bits(frames))
    return codec.prior.qualities[int(np.abs(np.array(sizes) - REFERENCE_BITS).argmin())]


async def _once(codec: Codec, face: Descriptors, quality: Quality) -> float:
    start = time.perf_counter()
    await codec.decode(await codec.encode(face, quality.index))
    return time.perf_counter() - start
