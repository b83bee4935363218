"""The faces that the extraction network learns from, with random crops, turns, mirror images and brightness."""

import math
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semface.evaluation.expression import majority_label
from semface.extraction.alignment import CROP_SIZE
from semface.meaning import EXPRESSIONS
from semface.morphable.model import MorphableModel
from training.datasets import (
    cache,
    ferplus,
    ferplus_votes,
    is_selection,
    is_selection_person,
    person,
)
from training.extractor_losses import Batch
from training.faces import CROP_MARGIN

TRUSTED_PRESENCE: Final = 12.0
TRUSTED_ERROR: Final = 0.02
"""A fit whose mean landmark error is larger, in square sides, teaches nothing."""
SCALES: Final = (0.92, 1.1)
SHIFT: Final = 0.05
TURN: Final = math.radians(12.0)
BRIGHTNESS: Final = (0.75, 1.25)


def mirror_matrix(basis: NDArray[np.float32], mirror: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return M (K, K) so that coefficients c of a head become c·M of its mirror image."""
    turned = basis[:, mirror] * np.array([-1.0, 1.0, 1.0], np.float32)
    flat = basis.reshape(len(basis), -1)
    answer = np.linalg.lstsq(flat.T, turned.reshape(len(basis), -1).T, rcond=1e-4)[0]
    return answer.T.astype(np.float32)


class FaceSet:
    """All cached faces of LFW and FER+ (training part) in memory, and who may be learned from."""

    def __init__(self, model: MorphableModel, excluded: frozenset[str]) -> None:
        self.names: list[str] = []
        parts: dict[str, list[NDArray]] = {}
        crops = []
        for name in ("lfw", "ferplus_train"):
            with (
                np.load(cache() / "faces" / f"{name}.npz") as faces,
                np.load(cache() / "supervision" / f"{name}.npz") as fits,
            ):
                self.names += [str(n) for n in faces["names"]]
                trusted = faces["detected"] & (faces["presence"] > TRUSTED_PRESENCE) & (fits["error"] < TRUSTED_ERROR)
                found = {"landmarks": faces["landmarks"][..., :2], "fitted": trusted.astype(np.float32)}
                found |= {field: fits[field] for field in ("shape", "expression", "colours", "normals", "seen")}
                self.vertices = torch.tensor(fits["vertices"].astype(np.int64))
                for field, values in found.items():
                    parts.setdefault(field, []).append(values)
            crops.append(np.load(cache() / "faces" / f"{name}_crops.npy", mmap_mode="r"))
        self.tensors = {field: torch.tensor(np.concatenate(values)) for field, values in parts.items()}
        self.crops = torch.tensor(np.concatenate(crops))
        self.identity_count = len(crops[0])
        place = {int(v): i for i, v in enumerate(self.vertices)}
        self.vertex_mirror = torch.tensor([place[int(model.mirror[int(v)])] for v in self.vertices])
        self.landmark_mirror = torch.tensor(model.landmark_mirror.astype(np.int64))
        self.shape_mirror = torch.tensor(mirror_matrix(model.shape_basis, model.mirror))
        self.expression_mirror = torch.tensor(mirror_matrix(model.expression_basis, model.mirror))
        self._read_labels()
        self._split(excluded)

    def _read_labels(self) -> None:
        votes = ferplus_votes("train")
        self.votes = torch.zeros(len(self.names), len(EXPRESSIONS))
        self.labels = torch.full((len(self.names),), -1)
        for index in range(self.identity_count, len(self.names)):
            found = votes[self.names[index]]
            label = majority_label(found)
            if label is not None:
                self.labels[index] = label
                self.votes[index] = torch.tensor(found[: len(EXPRESSIONS)] / found[: len(EXPRESSIONS)].sum())

    def _split(self, excluded: frozenset[str]) -> None:
        held = {picture.name for picture in ferplus("train") if is_selection(picture.data)}
        people = [person(name) for name in self.names[: self.identity_count]]
        held_people = {name for name in people if is_selection_person(name)}
        index = np.arange(len(self.names))
        out = np.array([name in excluded for name in people] + [False] * (len(index) - len(people)))
        held_out = np.array([name in held_people for name in people] + [n in held for n in self.names[len(people) :]])
        self.training = index[~out & ~held_out]
        self.selection = index[~out & held_out]

    def read_teacher(self) -> None:
        """Load the identity teacher's embeddings: centred, 512 principal components of training people, length one."""
        with np.load(cache() / "teachers" / "lfw.npz") as file:
            raw = file["embedding"]
        learned = raw[self.training[self.training < self.identity_count]]
        mean = learned.mean(axis=0)
        _, directions = np.linalg.eigh(np.cov((learned - mean).T))
        reduced = (raw - mean) @ directions[:, ::-1][:, :512]
        reduced /= np.linalg.norm(reduced, axis=1, keepdims=True)
        self.embedding = torch.zeros(len(self.names), 512)
        self.embedding[: self.identity_count] = torch.tensor(reduced)

    def batch(self, index: NDArray[np.intp], random: torch.Generator | None) -> Batch:
        """Return the faces ``index``, augmented by ``random``, or as the service will see them when it is None."""
        rows = torch.tensor(index)
        fields = {field: tensor[rows].float() for field, tensor in self.tensors.items()}
        flip = (
            torch.zeros(len(rows), dtype=torch.bool)
            if random is None
            else torch.rand(len(rows), generator=random) < 0.5
        )
        self._mirror(fields, flip)
        affine = _affine(len(rows), flip, random)
        pixels = self.crops[rows].permute(0, 3, 1, 2).float()
        grid = nn.functional.affine_grid(affine, [len(rows), 3, CROP_SIZE, CROP_SIZE], align_corners=False)
        pixels = nn.functional.grid_sample(pixels, grid, align_corners=False)
        gain = torch.ones(len(rows), 1, 1) if random is None else _uniform(len(rows), BRIGHTNESS, random).view(-1, 1, 1)
        identity = rows < self.identity_count
        return Batch(
            pixels=(pixels * gain[..., None]).clamp(0.0, 255.0),
            landmarks=_moved(fields["landmarks"], affine),
            shape=fields["shape"],
            expression=fields["expression"],
            fitted=fields["fitted"],
            colours=fields["colours"] * gain,
            normals=_turned(fields["normals"] / 127.0, affine),
            seen=fields["seen"],
            embedding=self.embedding[rows],
            has_identity=identity.float() * fields["fitted"],
            votes=self.votes[rows],
            has_votes=(self.labels[rows] >= 0).float(),
        )

    def _mirror(self, fields: dict[str, Tensor], flip: Tensor) -> None:
        fields["landmarks"][flip] = fields["landmarks"][flip][:, self.landmark_mirror]
        for field in ("colours", "normals", "seen"):
            fields[field][flip] = fields[field][flip][:, self.vertex_mirror]
        fields["normals"][flip] *= torch.tensor([-1.0, 1.0, 1.0])
        fields["shape"][flip] = fields["shape"][flip] @ self.shape_mirror
        fields["expression"][flip] = fields["expression"][flip] @ self.expression_mirror


def _uniform(count: int, limits: tuple[float, float], random: torch.Generator) -> Tensor:
    return limits[0] + (limits[1] - limits[0]) * torch.rand(count, generator=random)


def _affine(count: int, flip: Tensor, random: torch.Generator | None) -> Tensor:
    """Return matrices (N, 2, 3) from the crop's coordinates, −1 to 1, to those of the cached crop."""
    scale, turn, shift = torch.ones(count), torch.zeros(count), torch.zeros(count, 2)
    if random is not None:
        scale = _uniform(count, SCALES, random)
        turn = _uniform(count, (-TURN, TURN), random)
        shift = SHIFT * 2.0 * (2.0 * torch.rand(count, 2, generator=random) - 1.0)
    scale = scale / CROP_MARGIN
    sign = 1.0 - 2.0 * flip.float()
    cos, sin = torch.cos(turn) * scale, torch.sin(turn) * scale
    first = torch.stack([sign * cos, -sign * sin, shift[:, 0]], dim=1)
    return torch.stack([first, torch.stack([sin, cos, shift[:, 1]], dim=1)], dim=1)


def _moved(landmarks: Tensor, affine: Tensor) -> Tensor:
    """Return landmarks, fractions of the square, as fractions of the augmented crop."""
    cached = (landmarks - 0.5) * 2.0 / CROP_MARGIN
    moved = torch.linalg.solve(affine[:, :, :2], (cached - affine[:, None, :, 2]).transpose(1, 2))
    return moved.transpose(1, 2) / 2.0 + 0.5


def _turned(normals: Tensor, affine: Tensor) -> Tensor:
    """Return normals (N, S, 3), already mirrored where the crop is, turned as the augmented crop is."""
    sin, cos = nn.functional.normalize(affine[:, 1, :2], dim=1).unsqueeze(1).unbind(2)
    x, y, z = normals.unbind(2)
    return torch.stack([cos * x - sin * y, sin * x + cos * y, z], dim=2)
