"""The faces that the extraction network learns from, with random crops, turns, mirror images, brightness and damage."""

import math
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semface.evaluation.expression import majority_label
from semface.extraction.alignment import CROP_SIZE
from semface.meaning import EXPRESSIONS
from semface.morphable.camera import rotation_matrix
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
from training.identity_targets import identity_targets
from training.landmarks68 import MIRROR_68

PHOTOGRAPHS: Final = ("lfw", "ferplus_train")
RENDERS: Final = "ict"
SELECTION_RENDERS: Final = 20
"""One person in so many of the renders is held out."""
TRUSTED_PRESENCE: Final = 12.0
TRUSTED_ERROR: Final = 0.02
"""A fit whose mean landmark error is larger, in square sides, teaches nothing."""
SCALES: Final = (0.92, 1.1)
SHIFT: Final = 0.05
TURN: Final = math.radians(12.0)
BRIGHTNESS: Final = (0.75, 1.25)
COARSE: Final = 0.2
"""Share of faces that are made coarse, down to one of ``COARSE_SIDES`` in pixels."""
COARSE_SIDES: Final = (20, 64)
COVERED: Final = 0.12
"""Share of faces of which a box of one colour hides a part."""


def mirror_matrix(basis: NDArray[np.float32], mirror: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return M (K, K) so that coefficients c of a head become c·M of its mirror image."""
    turned = basis[:, mirror] * np.array([-1.0, 1.0, 1.0], np.float32)
    flat = basis.reshape(len(basis), -1)
    answer = np.linalg.lstsq(flat.T, turned.reshape(len(basis), -1).T, rcond=1e-4)[0]
    return answer.T.astype(np.float32)


class FaceSet:
    """All cached faces of LFW and FER+ (training part) in memory, renders if wanted, and who may be learned from."""

    def __init__(self, model: MorphableModel, excluded: frozenset[str], *, with_renders: bool = True) -> None:
        self.names: list[str] = []
        parts: dict[str, list[NDArray]] = {}
        crops = []
        for name in (*PHOTOGRAPHS, *([RENDERS] if with_renders else [])):
            names, fields = _read_renders() if name == RENDERS else _read_photographs(name)
            self.names += names
            for field, values in fields.items():
                parts.setdefault(field, []).append(values)
            crops.append(np.load(cache() / "faces" / f"{name}_crops.npy", mmap_mode="r"))
        with np.load(cache() / "supervision" / f"{PHOTOGRAPHS[0]}.npz") as fits:
            self.vertices = fits["vertices"]
        self.tensors = {field: torch.tensor(np.concatenate(values)) for field, values in parts.items()}
        self.crops = torch.tensor(np.concatenate(crops))
        self.identity_count = len(crops[0])
        self.photograph_count = self.identity_count + len(crops[1])
        place = {int(v): i for i, v in enumerate(self.vertices)}
        self.vertex_mirror = torch.tensor([place[int(model.mirror[v])] for v in self.vertices])
        self.landmark_mirror = torch.tensor(model.landmark_mirror.astype(np.int64))
        self.shape_mirror = torch.tensor(mirror_matrix(model.shape_basis, model.mirror))
        self.expression_mirror = torch.tensor(mirror_matrix(model.expression_basis, model.mirror))
        self._share_shapes()
        self._read_labels()
        self._split(excluded)

    def _share_shapes(self) -> None:
        """Give all photographs of a person the mean α of their fits: what differs between them is no shape."""
        shape, fitted = self.tensors["shape"], self.tensors["fitted"]
        of_person: dict[str, list[int]] = {}
        for index in torch.nonzero(fitted[: self.identity_count])[:, 0].tolist():
            of_person.setdefault(person(self.names[index]), []).append(index)
        for members in of_person.values():
            shape[members] = shape[members].mean(dim=0)

    def _read_labels(self) -> None:
        votes = ferplus_votes("train")
        self.votes = torch.zeros(len(self.names), len(EXPRESSIONS))
        self.labels = torch.full((len(self.names),), -1)
        for index in range(self.identity_count, self.photograph_count):
            found = votes[self.names[index]]
            label = majority_label(found)
            if label is not None:
                self.labels[index] = label
                self.votes[index] = torch.tensor(found[: len(EXPRESSIONS)] / found[: len(EXPRESSIONS)].sum())

    def _split(self, excluded: frozenset[str]) -> None:
        held = {picture.name for picture in ferplus("train") if is_selection(picture.data)}
        people = [person(name) for name in self.names[: self.identity_count]]
        chosen = [is_selection_person(name) for name in people]
        chosen += [name in held for name in self.names[self.identity_count : self.photograph_count]]
        chosen += [int(name) % SELECTION_RENDERS == 0 for name in self.names[self.photograph_count :]]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(people))}
        shown = self.names[self.photograph_count :]
        of_render = [len(numbers) + int(name) for name in shown]
        of_photograph = [numbers[name] for name in people]
        self.person = torch.tensor(of_photograph + [-1] * (self.photograph_count - len(people)) + of_render)
        index, held_out = np.arange(len(self.names)), np.array(chosen)
        out = np.array([name in excluded for name in people] + [False] * (len(index) - len(people)))
        self.training = index[~out & ~held_out]
        self.selection = index[~out & held_out]

    def parts(self, index: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """Return those of ``index`` that are faces of LFW, of FER+ and renders."""
        first, second = self.identity_count, self.photograph_count
        return index[index < first], index[(index >= first) & (index < second)], index[index >= second]

    def read_teacher(self) -> None:
        """Load what the embeddings of photographs are to become; renders have none."""
        targets = [torch.from_numpy(identity_targets(name)) for name in PHOTOGRAPHS]
        renders = len(self.names) - self.photograph_count
        self.embedding = torch.cat([*targets, torch.zeros(renders, targets[0].shape[1])])

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
        pixels = (pixels * gain[..., None]).clamp(0.0, 255.0)
        photograph = rows < self.photograph_count
        return Batch(
            pixels=pixels if random is None else damaged(pixels, random),
            landmarks=_moved(fields["landmarks"], affine),
            shape=fields["shape"],
            expression=fields["expression"],
            fitted=fields["fitted"],
            colours=fields["colours"] * gain,
            normals=_turned(fields["normals"] / 127.0, affine),
            seen=fields["seen"],
            embedding=self.embedding[rows],
            has_identity=photograph.float() * fields["fitted"],
            votes=self.votes[rows],
            has_votes=(self.labels[rows] >= 0).float(),
            landmarks68=_moved(fields["landmarks68"], affine),
            rotation=_turned(fields["rotation"].transpose(1, 2), affine).transpose(1, 2),
            rendered=fields["rendered"],
            person=self.person[rows],
        )

    def pairs(self, renders: NDArray[np.intp], count: int, random: np.random.Generator) -> NDArray[np.intp]:
        """Draw about ``count`` of ``renders``, two of each person."""
        by_person = renders[np.argsort(self.person[renders], kind="stable")]
        firsts = np.flatnonzero(self.person[by_person[:-1]] == self.person[by_person[1:]])
        return np.concatenate([by_person[(start := random.choice(firsts, count // 2))], by_person[start + 1]])

    def _mirror(self, fields: dict[str, Tensor], flip: Tensor) -> None:
        """Mirror the faces ``flip`` (N,) but for their landmarks' places, which the crop's own mirroring moves."""
        fields["landmarks68"][flip] = fields["landmarks68"][flip][:, list(MIRROR_68)]
        sides = torch.tensor([-1.0, 1.0, 1.0])
        fields["rotation"][flip] = sides[:, None] * fields["rotation"][flip] * sides
        fields["landmarks"][flip] = fields["landmarks"][flip][:, self.landmark_mirror]
        for field in ("colours", "normals", "seen"):
            fields[field][flip] = fields[field][flip][:, self.vertex_mirror]
        fields["normals"][flip] *= sides
        fields["shape"][flip] = fields["shape"][flip] @ self.shape_mirror
        fields["expression"][flip] = fields["expression"][flip] @ self.expression_mirror


def _read_photographs(name: str) -> tuple[list[str], dict[str, NDArray]]:
    with np.load(cache() / "faces" / f"{name}.npz") as faces, np.load(cache() / "supervision" / f"{name}.npz") as fits:
        names = [str(n) for n in faces["names"]]
        trusted = faces["detected"] & (faces["presence"] > TRUSTED_PRESENCE) & (fits["error"] < TRUSTED_ERROR)
        fields = {"landmarks": faces["landmarks"][..., :2], "fitted": trusted.astype(np.float32)}
        fields |= {field: fits[field] for field in ("shape", "expression", "colours", "normals", "seen")}
    return names, fields | _absent(len(names), {"landmarks68": (68, 2), "rotation": (3, 3), "rendered": ()})


def _read_renders() -> tuple[list[str], dict[str, NDArray]]:
    with np.load(cache() / "faces" / f"{RENDERS}.npz") as file:
        names = [str(number) for number in file["identity_number"]]
        fields = {field: file[field] for field in ("landmarks68", "shape", "expression")}
        fields["rotation"] = rotation_matrix(file["rotation"]).astype(np.float32)
    fields["rendered"] = np.ones(len(names), np.float32)
    absent = _absent(len(names), {"landmarks": (468, 2), "fitted": ()})
    with np.load(cache() / "supervision" / f"{PHOTOGRAPHS[0]}.npz") as fits:
        for field in ("colours", "normals", "seen"):
            absent[field] = np.zeros((len(names), *fits[field].shape[1:]), fits[field].dtype)
    return names, fields | absent


def _absent(count: int, shapes: dict[str, tuple[int, ...]]) -> dict[str, NDArray]:
    return {field: np.zeros((count, *shape), np.float32) for field, shape in shapes.items()}


def damaged(pixels: Tensor, random: torch.Generator) -> Tensor:
    """Return ``pixels`` (N, 3, S, S) with some faces coarse, some covered in part, as small or hidden faces are."""
    answer = pixels.clone()
    side = pixels.shape[-1]
    chance = torch.rand(len(pixels), generator=random)
    for index in torch.nonzero(chance < COARSE)[:, 0].tolist():
        small = int(torch.randint(*COARSE_SIDES, (1,), generator=random))
        shrunk = nn.functional.interpolate(answer[index : index + 1], size=small, mode="area")
        answer[index] = nn.functional.interpolate(shrunk, size=side, mode="bilinear")[0]
    for index in torch.nonzero(chance > 1.0 - COVERED)[:, 0].tolist():
        low, extent = torch.rand(2, generator=random) * side, torch.rand(2, generator=random) * side * 0.6
        (top, left), (bottom, right) = low.int().tolist(), (low + extent).int().tolist()
        answer[index, :, top:bottom, left:right] = torch.rand(3, 1, 1, generator=random) * 255.0
    return answer


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
