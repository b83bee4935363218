"""Descriptors as a receiver sees them: as they were extracted, and decoded at every quality of the exported codec."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from semface.codec.core import Codec
from semface.descriptors import PORTION_SLICES, Portion
from semface.evaluation.coding import transmit
from semface.inference.blocking import run_blocking
from semface.inference.embedded import EmbeddedEngine
from training import datasets

CODEC_MODELS = ("codec_analysis", "codec_synthesis")
UNCODED = "uncoded"


@dataclass(frozen=True, slots=True)
class ReceivedDescriptors:
    """One portion of N faces as received in V ways: ``values`` (V, N, D); the ways' ``names``, uncoded first."""

    faces: tuple[str, ...]
    values: NDArray[np.float32]
    names: tuple[str, ...]
    default: int
    codec: str

    def mixed(self, rows: torch.Tensor, noise: NDArray[np.float32] | float = 0.0) -> torch.Tensor:
        """Return faces ``rows`` (B,) each received in a way drawn anew, with Gaussian noise of deviation ``noise``."""
        ways = torch.randint(len(self.names), (len(rows),))
        picked = torch.from_numpy(self.values[ways.numpy(), rows.numpy()])
        return picked + torch.randn_like(picked) * torch.as_tensor(noise)

    def by_default(self, rows: NDArray[np.intp]) -> torch.Tensor:
        """Return faces ``rows`` as received at the codec's default quality, uncoded while there is no codec."""
        return torch.from_numpy(self.values[self.default][rows])


def load_descriptors(name: str) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Return the names and descriptors (N, 257) of ``lfw`` or ``ferplus_train`` from the cache.

    Raises FileNotFoundError, saying what makes them, when they are not there.
    """
    path = datasets.cache() / "descriptors" / f"{name}.npz"
    if not path.exists():
        raise FileNotFoundError(f"{path} is absent; extract the descriptors of {name} first")
    with np.load(path) as kept:
        return tuple(kept["names"].tolist()), kept["descriptors"].astype(np.float32)


def receive(
    faces: tuple[str, ...], descriptors: NDArray[np.float32], portion: Portion, repository: Path
) -> ReceivedDescriptors:
    """Send ``descriptors`` (N, 257) through the codec of ``repository`` at each quality; keep ``portion``.

    While the repository holds no codec there is only the uncoded way.
    """
    where = PORTION_SLICES[portion]
    ways, names, default, codec_hash = [descriptors[:, where]], [UNCODED], 0, "none"
    if all((repository / model / "1" / "model.onnx").exists() for model in CODEC_MODELS):
        codec = Codec(EmbeddedEngine(repository), repository)
        for quality in tqdm(codec.prior.qualities, desc="coding", unit="quality"):
            received = run_blocking(transmit(codec, descriptors, portion, quality=quality.index))[1]
            ways.append(received[:, where])
            names.append(quality.name)
        default, codec_hash = 1 + codec.default_quality.index, codec.model_hash
    return ReceivedDescriptors(faces, np.stack(ways), tuple(names), default, codec_hash)


def digest(*parts: object) -> str:
    """Return a short hash of what a result hangs on, for the name of its check-point."""
    seen = hashlib.sha256()
    for part in parts:
        seen.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return seen.hexdigest()[:12]
