"""A portion sent alone, three ways: our layers, and the paper's two ways with its codec of the whole face.

Ours is one model for every subset: the payload of one portion. The paper's network reads all numbers at once. So either
those that are not wanted are 0 (zero-padding, without retraining), or it is trained again for the portion alone, the
others being 0. Bits are of whole frames for ours, head and check included; for the paper's what its entropy coder makes
of the 256 integers, without any head.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from semface.codec.core import Codec
from semface.descriptors import PORTION_SLICES, Descriptors
from semface.evaluation.coding import ReceivedFaces, mean_frame_bits, read_integers, transmit
from semface.evaluation.paper_coder import encode_order0, evenly_chosen, mean_bits
from semface.evaluation.rate import Task


@dataclass(frozen=True, slots=True)
class LayerPoint:
    """One task, decoded from the portion that it needs and nothing else."""

    task: str
    way: str
    """``not coded``, ``ours``, ``zero-padded`` or ``retrained``."""
    quality: str
    accuracy: float
    bits: float | None
    """Mean over the pictures; None where nothing was coded."""

    def as_dict(self) -> dict[str, str | float | None]:
        """Return the figures by name."""
        return asdict(self)


async def compare_layers(
    task: Task, ours: Codec, zero_padded: Sequence[tuple[str, Codec]], retrained: Sequence[tuple[str, Codec]]
) -> list[LayerPoint]:
    """Return ``task`` not coded, at each quality of ``ours``, and by the paper's codecs (name, codec) of both ways.

    Every codec in ``retrained`` has to be trained for the portion that the task needs.
    """
    judged = await task.judge(ReceivedFaces(task.faces, task.portion, None))
    points = [LayerPoint(task.name, "not coded", "uncoded", judged.accuracy, None)]
    for quality in ours.prior.qualities:
        frames, decoded = await transmit(ours, task.faces, task.portion, quality=quality.index)
        points.append(await _point(task, "ours", quality.name, decoded, mean_frame_bits(frames)))
    alone = np.zeros_like(task.faces)
    alone[:, PORTION_SLICES[task.portion]] = task.faces[:, PORTION_SLICES[task.portion]]
    for way, codecs in (("zero-padded", zero_padded), ("retrained", retrained)):
        for name, codec in codecs:
            for quality in codec.prior.qualities:
                frames, decoded = await transmit(codec, alone, quality=quality.index)
                integers = read_integers(codec, quality, frames)[0]
                bits = mean_bits(encode_order0, evenly_chosen(integers))
                points.append(await _point(task, way, name, decoded, bits))
    return points


async def _point(task: Task, way: str, quality: str, decoded: Descriptors, bits: float) -> LayerPoint:
    judged = await task.judge(ReceivedFaces(decoded, task.portion, None))
    return LayerPoint(task.name, way, quality, judged.accuracy, bits)
