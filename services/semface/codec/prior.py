"""The frozen part of a codec model: gains and integer frequency tables of each quality, and the model's hash."""

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from semface.codec.bitstream import MAX_QUALITIES
from semface.codec.entropy import FrequencyTables, Symbols
from semface.descriptors import Portion
from semface.errors import Reason, SemfaceError

ANALYSIS_MODEL: Final = "codec_analysis"
SYNTHESIS_MODEL: Final = "codec_synthesis"
MODEL_VERSION: Final = "1"

LATENT_SIZE: Final = 256
"""How many latents a face has."""

PORTION_LATENTS: Final = MappingProxyType(
    {
        Portion.IDENTITY: slice(0, 160),
        Portion.EXPRESSION: slice(160, 232),
        Portion.ILLUMINATION: slice(232, 256),
    }
)
"""The slice of the latents that each portion's payload carries."""

_ARRAYS: Final = ("gains", "minimum", "frequencies", "quality_names", "default_quality")

Latents = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PortionPrior:
    """One portion at one quality: which latents are coded, how finely, and their tables."""

    latents: NDArray[np.intp]
    """Numbers (n,) of the coded latents among the 256; the others are constant and decode to 0."""
    gains: NDArray[np.float32]
    minimum: NDArray[np.int32]
    tables: FrequencyTables

    def scaled(self, latents: Latents) -> Latents:
        """Return ``latents`` (N, 256) in steps above the tables' lowest integer, (N, n): rounded, they are symbols."""
        # Numbers near the end of float32 may overflow in g_a or here; they are coded as an extreme or as 0.
        with np.errstate(over="ignore", invalid="ignore"):
            return np.nan_to_num(latents[:, self.latents] * self.gains) - self.minimum

    def quantise(self, latents: Latents) -> Symbols:
        """Return the symbols (N, n) of ``latents`` (N, 256): latent × gain, rounded, kept within the tables."""
        with np.errstate(over="ignore", invalid="ignore"):
            integers = np.rint(latents.take(self.latents, axis=1) * self.gains)
        if not np.isfinite(integers).all():
            integers = np.nan_to_num(integers)
        return np.minimum(np.maximum(integers - self.minimum, 0), self.tables.symbols - 1).astype(np.int32)

    def dequantise(self, symbols: Symbols) -> Latents:
        """Return the float32 values (n,) of the coded latents: one exact integer divided by the gain."""
        return (symbols + self.minimum).astype(np.float32) / self.gains


@dataclass(frozen=True, slots=True)
class Quality:
    """One operating point of the codec."""

    index: int
    name: str
    portions: Mapping[Portion, PortionPrior]


class Prior:
    """The qualities of a codec model, from ``prior.npz``."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Check and keep the arrays of a ``prior.npz``; raises ``ValueError`` saying what is wrong with them.

        ``gains`` float32 (Q, 256), 0 where a latent is not coded; ``minimum`` int32 (Q, 256); ``frequencies`` uint32
        (Q, 256, S), each table summing to 2^16; ``quality_names`` (Q,); ``default_quality`` 0…Q−1. All tables of one
        portion at one quality have as many symbols, each at least 1; zeros fill the rest.
        """
        _check(arrays)
        names = [str(name) for name in arrays["quality_names"]]
        self.qualities = tuple(_quality(index, name, arrays) for index, name in enumerate(names))
        self.default = self.qualities[int(arrays["default_quality"])]

    @classmethod
    def load(cls, repository: Path) -> "Prior":
        """Read the prior beside g_s in ``repository``. Raises MODEL_UNKNOWN when it is absent or not valid."""
        path = prior_path(repository)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls({name: arrays[name] for name in _ARRAYS})
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            message = f"the codec model's {path.name} is missing or not valid; train or fetch the codec model"
            raise SemfaceError(Reason.MODEL_UNKNOWN, message) from error

    def find(self, quality: str | int | None) -> Quality:
        """Return the quality of this name or number, the default for None. Raises FIELD_INVALID for an unknown one."""
        if quality is None:
            return self.default
        for candidate in self.qualities:
            if quality in (candidate.index, candidate.name, str(candidate.index)):
                return candidate
        names = ", ".join(f"{candidate.index} {candidate.name}" for candidate in self.qualities)
        raise SemfaceError(
            Reason.FIELD_INVALID, f"there is no such quality; the codec model has {names}", field="quality"
        )


def prior_path(repository: Path) -> Path:
    """Where the prior lies in a model repository."""
    return repository / SYNTHESIS_MODEL / MODEL_VERSION / "prior.npz"


def codec_model_hash(repository: Path) -> str:
    """Return the SHA-256 (hexadecimal) over g_a's and g_s's ``model.onnx`` and ``prior.npz``, in this order.

    Raises MODEL_UNKNOWN when one is missing.
    """
    digest = hashlib.sha256()
    networks = [repository / model / MODEL_VERSION / "model.onnx" for model in (ANALYSIS_MODEL, SYNTHESIS_MODEL)]
    for path in (*networks, prior_path(repository)):
        try:
            digest.update(path.read_bytes())
        except OSError as error:
            message = f"the codec model lacks {path.name} of {path.parents[1].name}; train or fetch the codec model"
            raise SemfaceError(Reason.MODEL_UNKNOWN, message) from error
    return digest.hexdigest()


def _check(arrays: Mapping[str, NDArray[Any]]) -> None:
    gains, minimum, frequencies = arrays["gains"], arrays["minimum"], arrays["frequencies"]
    names = [str(name) for name in arrays["quality_names"]]
    shape = (len(names), LATENT_SIZE)
    if not 1 <= len(names) <= MAX_QUALITIES or len(set(names)) != len(names):
        raise ValueError(f"a codec model has 1 to {MAX_QUALITIES} qualities of different names")
    if gains.shape != shape or minimum.shape != shape or frequencies.shape[:-1] != shape:
        raise ValueError(f"gains, minimum and frequencies must begin with the axes {shape}")
    if gains.dtype != np.float32 or not np.isfinite(gains).all() or (gains < 0).any():
        raise ValueError("gains must be finite float32 of at least 0")
    if minimum.dtype != np.int32 or np.abs(minimum.astype(np.int64)).max() >= 1 << 16:
        raise ValueError("minimum must be int32 within ±2^16")
    if not 0 <= int(arrays["default_quality"]) < len(names):
        raise ValueError("default_quality must be the number of a quality")


def _quality(index: int, name: str, arrays: Mapping[str, NDArray[Any]]) -> Quality:
    gains, minimum, frequencies = (arrays[key][index] for key in ("gains", "minimum", "frequencies"))
    portions = {}
    for portion, where in PORTION_LATENTS.items():
        coded = where.start + np.flatnonzero(gains[where])
        tables = FrequencyTables(_without_filling(frequencies[coded]))
        portions[portion] = PortionPrior(coded, gains[coded], minimum[coded], tables)
    return Quality(index, name, MappingProxyType(portions))


def _without_filling(frequencies: NDArray[Any]) -> NDArray[Any]:
    """Return ``frequencies`` (n, S) without the columns at the end that are 0 in all rows; at least 2 stay."""
    used = np.flatnonzero(frequencies.any(axis=0))
    return frequencies[:, : max(2, used[-1] + 1 if len(used) else 0)]
