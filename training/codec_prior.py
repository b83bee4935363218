"""Freezing the codec's prior: from trained gains, learned densities and real latents to integer frequency tables."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from semface.codec.entropy import FREQUENCY_TOTAL
from semface.codec.prior import LATENT_SIZE, PORTION_LATENTS
from semface.descriptors import Portion
from training.codec_network import CodecNetwork

MOST_SYMBOLS = 1024
"""Tables are no longer than this: a gain that would need more is lowered."""

MARGIN = 1 / 16
"""How far the tables reach beyond the integers seen in training, on each side, as a share of their range."""

DENSITY_WEIGHT = 100.0
"""How many samples the learned density counts for beside the samples seen."""

SILENT_BITS = 0.005
"""A latent whose integers hold less than this, in bits a face, is constant for all practical use and is not coded."""

Frozen = dict[str, NDArray[np.generic]]


def freeze(network: CodecNetwork, latents: NDArray[np.float32], names: Sequence[str], default: int) -> Frozen:
    """Return the arrays of ``prior.npz`` for the trained ``network``; ``latents`` (N, 256) are the training side's."""
    lowest, highest = latents.min(axis=0), latents.max(axis=0)
    reach = MARGIN * (highest - lowest)
    most = (MOST_SYMBOLS - 3) / np.maximum(highest - lowest + 2 * reach, 1e-3)
    gains = np.minimum(torch.exp(network.log_gains).detach().numpy(), most).astype(np.float32)
    minimum = np.zeros(gains.shape, np.int32)
    tables: dict[tuple[int, Portion], NDArray[np.uint32]] = {}
    for quality, gain in enumerate(gains):
        integers = np.rint(latents * gain).astype(np.int64)
        gain[[_entropy(values) < SILENT_BITS for values in integers.T]] = 0
        low = np.floor((lowest - reach) * gain).astype(np.int64)
        high = np.ceil((highest + reach) * gain).astype(np.int64)
        for portion, where in PORTION_LATENTS.items():
            symbols = max(int((high - low)[where].max()) + 1, 2)
            # Tables of a portion are as long as its longest; what a latent does not need lies evenly on both sides.
            minimum[quality, where] = (low + high)[where] // 2 - symbols // 2
            tables[quality, portion] = _frequencies(network, integers, gain, minimum[quality], symbols)[where]
    frequencies = np.zeros((*gains.shape, max(table.shape[1] for table in tables.values())), np.uint32)
    for (quality, portion), table in tables.items():
        frequencies[quality, PORTION_LATENTS[portion], : table.shape[1]] = table
    return {
        "gains": gains,
        "minimum": minimum,
        "frequencies": frequencies,
        "quality_names": np.array(names),
        "default_quality": np.int32(default),
    }


def write(path: Path, arrays: Frozen) -> None:
    """Write ``prior.npz``; the same arrays give the same bytes."""
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def _entropy(values: NDArray[np.int64]) -> float:
    counts = np.unique(values, return_counts=True)[1] / len(values)
    return float(-(counts * np.log2(counts)).sum())


def _frequencies(
    network: CodecNetwork,
    integers: NDArray[np.int64],
    gains: NDArray[np.float32],
    minimum: NDArray[np.int32],
    symbols: int,
) -> NDArray[np.uint32]:
    """Return integer tables (256, S): samples counted, smoothed by the learned density, each entry at least 1."""
    seen = np.clip(integers - minimum, 0, symbols - 1) + symbols * np.arange(LATENT_SIZE)
    counts = np.bincount(seen.ravel(), minlength=symbols * LATENT_SIZE).reshape(LATENT_SIZE, symbols)
    counts = counts + DENSITY_WEIGHT * _density(network, gains, minimum, symbols)
    spare = FREQUENCY_TOTAL - symbols
    frequencies = 1 + np.floor(spare * counts / counts.sum(axis=1, keepdims=True)).astype(np.int64)
    frequencies[np.arange(LATENT_SIZE), frequencies.argmax(axis=1)] += FREQUENCY_TOTAL - frequencies.sum(axis=1)
    return frequencies.astype(np.uint32)


def _density(
    network: CodecNetwork, gains: NDArray[np.float32], minimum: NDArray[np.int32], symbols: int
) -> NDArray[np.float64]:
    """Return the learned probability (256, S) of each symbol of each latent."""
    edges = minimum[None] - 0.5 + np.arange(symbols + 1)[:, None]
    with torch.inference_mode():
        below = network.cumulative(torch.from_numpy((edges / np.where(gains > 0, gains, 1)).astype(np.float32)))
    cumulative = below.double().numpy()
    cumulative[0], cumulative[-1] = 0, 1  # the outermost symbols stand for all that lies beyond
    return np.diff(np.maximum.accumulate(cumulative, axis=0), axis=0).T
