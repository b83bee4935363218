"""Heads of the ICT face model in our coordinates, with the coefficients and the pose that our model should answer."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semface.evaluation.geometry import HeadComparison
from semface.evaluation.synthetic_faces import IctModel
from semface.extraction.alignment import Square
from semface.morphable.camera import DISTANCE, FOCAL_LENGTH, euler_angles, rotation_matrix
from semface.morphable.model import MorphableModel
from semface.morphable.similarity import Similarity, move, similarity

PEOPLE_STREAM: Final = 7001
"""First number of the random streams of people; the evaluation draws from the stream 0."""
PICTURES_OF_ONE: Final = (2, 4)
"""Least and most pictures of one person."""

YAW: Final = (np.radians(14.0), np.radians(50.0))
PITCH_AND_ROLL: Final = (np.radians(7.0), np.radians(25.0))
"""Deviation of the half of the faces that look nearly straight, and the limit of the other half."""
SHIFT: Final = 12.0
"""Deviation of the head's shift across the picture, in millimetres."""

FIT_NOISE: Final = 2.0
"""Standard deviation in millimetres of what our bases leave unexplained, against coefficients of one deviation."""
FIT_ROUNDS: Final = 4

Array = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class KnownPerson:
    """A head without expression (V, 3) in our frame, our coefficients nearest to it (80,), and how ours lies on it."""

    number: int
    neutral: Array
    shape: Array
    placed: Similarity


class HeadFits:
    """The coefficients of our bases nearest to ICT heads, at the places where the evaluation compares them."""

    def __init__(self, ict: IctModel, model: MorphableModel) -> None:
        """Take the places that the evaluation compares."""
        self._places = HeadComparison(ict, model).places
        region = model.face_region
        self._mean = model.mean_shape[region].astype(float)
        self._shape = _Ridge(model.shape_basis[:, region])
        self._expression = _Ridge(model.expression_basis[:, region])

    def shape(self, neutral: Array) -> tuple[Array, Similarity]:
        """Return α (80,) of ``neutral`` (V, 3), and the similarity that brings our head of α to it."""
        truth = self._places(neutral)
        head, alpha = self._mean, np.zeros(0)
        for _ in range(FIT_ROUNDS):
            alpha = self._shape.solve(_move_back(truth, similarity(head, truth)) - self._mean)
            head = self._mean + self._shape.offsets(alpha)
        return alpha, similarity(head, truth)

    def expression(self, offsets: Array, placed: Similarity) -> Array:
        """Return δ (64,) of what an expression adds to a head, ``offsets`` (V, 3), ``placed`` being the neutral's."""
        return self._expression.solve(self._places(offsets) @ placed.rotation / placed.scale)


class _Ridge:
    """Coefficients N(0, 1) of a basis (K, P, 3) in the presence of noise."""

    def __init__(self, basis: Array) -> None:
        self._basis = basis.reshape(len(basis), -1).astype(float)
        normal = self._basis @ self._basis.T + FIT_NOISE**2 * np.eye(len(basis))
        self._solution = np.linalg.solve(normal, self._basis)

    def solve(self, offsets: Array) -> Array:
        return self._solution @ offsets.ravel()

    def offsets(self, coefficients: Array) -> Array:
        return (coefficients @ self._basis).reshape(-1, 3)


def _move_back(points: Array, by: Similarity) -> Array:
    """Return the points (K, 3) that ``by`` moves to ``points``."""
    return (points - by.shift) @ by.rotation / by.scale


class KnownFaces:
    """Draws people and expressions at random, and tells what our model should answer."""

    def __init__(self, ict: IctModel, model: MorphableModel) -> None:
        """Place the ICT heads in our head coordinates, both mean faces aligned by their 68 landmarks."""
        by = similarity(ict.mean[ict.landmarks68], model.mean_shape[model.landmarks68])
        turn = (by.scale * by.rotation.T).astype(np.float32)
        self._mean, self._identity = move(ict.mean, by), ict.identity @ turn
        self._expression = ict.expression @ turn
        stems = [name.removesuffix("_L").removesuffix("_R") for name in ict.expression_names]
        self._units = [np.flatnonzero(np.array(stems) == stem) for stem in dict.fromkeys(stems)]
        self._fits = HeadFits(ict, model)

    def person(self, number: int) -> KnownPerson:
        """Draw the person ``number``, the same one every time."""
        random = np.random.default_rng((PEOPLE_STREAM, number))
        neutral = self._mean + np.tensordot(random.standard_normal(len(self._identity)), self._identity, 1)
        return KnownPerson(number, neutral, *self._fits.shape(neutral))

    def expression(self, person: KnownPerson, random: np.random.Generator) -> tuple[Array, Array]:
        """Draw an expression of ``person``: what it adds to the head (V, 3), and δ (64,)."""
        strengths = np.zeros(len(self._expression))
        if random.random() < 0.5:
            strengths[random.choice(len(strengths), 6, replace=False)] = random.uniform(0.0, 1.0, 6)
        else:
            for unit in random.choice(len(self._units), random.integers(0, 5), replace=False):
                # Most expressions move both sides alike.
                strengths[self._units[unit]] = random.uniform(0.2, 1.0)
        offsets = np.tensordot(strengths, self._expression, 1)
        return offsets, self._fits.expression(offsets, person.placed)


def random_pose(random: np.random.Generator) -> tuple[Array, Array]:
    """Return θ (3,), half of the time nearly frontal, and l (3,) without a move along the camera's axis."""
    spread, limit = np.array([PITCH_AND_ROLL, YAW, PITCH_AND_ROLL]).T
    frontal = random.random() < 0.5
    rotation = np.clip(random.normal(0.0, spread), -limit, limit) if frontal else random.uniform(-limit, limit)
    return rotation, np.append(random.normal(0.0, SHIFT, 2), 0.0)


def our_pose(
    rotation: Array, translation: Array, placed: Similarity, camera: Square, square: Square
) -> tuple[Array, Array]:
    """Return θ (3,) and l (3,) of our head in the face ``square`` when it is seen through that of the ``camera``.

    The known head has ``rotation`` and ``translation`` (3,) in the camera's square; ``placed`` brings ours to it.
    """
    turn = rotation_matrix(rotation[None])[0]
    moved = turn @ placed.shift + translation
    # A head that is s times as large looks like one at 1/s of the distance; so does a smaller square.
    depth = (DISTANCE - moved[2]) / placed.scale
    centre = 0.5 + FOCAL_LENGTH * np.array([1.0, -1.0]) * moved[:2] / placed.scale / depth
    seen = (np.array(camera[:2]) + centre * camera[2] - square[:2]) / square[2]
    depth *= square[2] / camera[2]
    across = (seen - 0.5) * [1.0, -1.0] * depth / FOCAL_LENGTH
    theta = euler_angles((turn @ placed.rotation)[None])[0]
    return theta, np.append(across, DISTANCE - depth)


def shown_people(count: int) -> Iterator[int]:
    """Yield the number of the person in each of ``count`` pictures; each person is in two to four of them."""
    random = np.random.default_rng((PEOPLE_STREAM, 1 << 30))
    person = shown = 0
    while shown < count:
        pictures = int(random.integers(PICTURES_OF_ONE[0], PICTURES_OF_ONE[1] + 1))
        yield from [person] * min(pictures, count - shown)
        person, shown = person + 1, shown + pictures
