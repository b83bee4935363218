"""The sender's choice of what to send: the fewest bits that keep the face's landmarks and its latents near enough.

No decoder knows of it: any differences within the tables make a valid frame. One step of a latent moves many landmarks
a little, and steps of several latents can undo each other, so rounding each latent by itself costs bits and is less
exact. What extraction's noise moves below the weights here is not sent at all.
"""

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from semface.codec.core import Codec
from semface.codec.prediction import LIMIT, Motion
from semface.codec.prior import LATENT_SIZE, PortionPrior
from semface.descriptors import GROUPS, PORTION_SLICES, Descriptors, Portion, split
from semface.morphable.camera import project
from semface.morphable.model import MorphableModel

EXPRESSION_MODEL: Final = "expression_recognition"
"""The network whose answers should survive, where it is served beside the codec."""

OUTER_EYES: Final = (36, 45)
"""Outer corners of the eyes among the 68 landmarks."""

FAR: Final = 0.008
"""How far off the landmarks count 1: root of their mean square, over the distance of the outer eye corners."""

UNSURE: Final = 0.03
"""How far off one confidence of an expression counts 1."""

LATENT_WEIGHT: Final = 0.03
"""What a latent that is one step off counts."""

BIT_WEIGHT: Final = 0.08
"""What a bit counts."""

MEASURES: Final = 2
"""How often the slopes are measured for a frame: around the last one, then around what was chosen."""

MOST_MOVES: Final = 300
"""Single steps of single latents that one frame may take; the search ends long before."""

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


class Steering:
    """Chooses differences of expression's latents, with an eye on what a receiver will make of them."""

    def __init__(self, codec: Codec, bit_weight: float = BIT_WEIGHT) -> None:
        """Look at landmarks, and at the confidences of expression where ``codec``'s repository has that network.

        ``bit_weight`` trades bits for nearness: more is smaller and less exact.
        """
        self._codec, self._bit_weight = codec, bit_weight
        self._tells: bool | None = None

    async def choose(self, prior: PortionPrior, motion: Motion, face: Descriptors) -> Integers | None:
        """Return the differences (n,) to send for ``face`` (257,) after ``motion``, None where it moved beyond them.

        ``prior`` is that of expression. How things follow the latents is measured anew around the last frame.
        """
        latents = await self._codec.analyse(face[None])
        wanted = prior.scaled(latents)[0].astype(np.float64) - motion.latents
        if np.abs(prior.quantise(latents)[0] - motion.latents).max(initial=0) > LIMIT:
            return None
        unit = FAR * float(eye_distances(landmarks(face[None]))[0])
        aim = (await self._effects(face[None], unit))[0]
        lowest = np.maximum(-motion.latents, -LIMIT)
        highest = np.minimum(prior.tables.symbols - 1 - motion.latents, LIMIT)
        costs = self._bit_weight * motion.bits()
        chosen = np.zeros(len(wanted), np.int64)
        candidates = [np.clip(np.rint(wanted).astype(np.int64), lowest, highest)]
        for _ in range(MEASURES):
            around = motion.latents + chosen + np.eye(len(wanted) + 1, len(wanted), -1, dtype=np.int64)
            effects = await self._received(prior, around, face, unit)
            slope = (effects[1:] - effects[0]).T
            metric = slope.T @ slope + LATENT_WEIGHT * np.eye(len(wanted))
            pull = slope.T @ (aim - effects[0] + slope @ chosen) + LATENT_WEIGHT * wanted
            before, chosen = chosen, _descend(metric, pull, costs, lowest, highest)
            candidates.append(chosen)
            if np.array_equal(before, chosen):
                break
        # Where the face moves far the slopes are wrong: what is really received decides.
        tried = np.stack(candidates)
        cost = np.square(await self._received(prior, motion.latents + tried, face, unit) - aim).sum(axis=1)
        cost += LATENT_WEIGHT * np.square(tried - wanted).sum(axis=1)
        cost += costs[np.arange(len(wanted)), tried + LIMIT].sum(axis=1)
        return tried[int(cost.argmin())]

    async def _received(
        self, prior: PortionPrior, symbols: NDArray[np.integer], face: Descriptors, unit: float
    ) -> Array:
        """Return the effects (N, m) of ``symbols`` (N, n) once decoded, on the shape of ``face`` (257,)."""
        latents = np.zeros((len(symbols), LATENT_SIZE), np.float32)
        latents[:, prior.latents] = prior.dequantise(symbols.astype(np.int32))
        faces = await self._codec.synthesise(latents, Portion.EXPRESSION)
        faces[:, GROUPS["shape"]] = face[GROUPS["shape"]]
        return await self._effects(faces, unit)

    async def _effects(self, faces: Descriptors, unit: float) -> Array:
        """Return what ``faces`` (N, 257) show, (N, m), scaled so that the squares of differences add up to what counts.

        Landmarks that are ``unit`` off, in sides of the face square, count 1.
        """
        points = landmarks(faces)
        effects = [points / (unit * np.sqrt(points.shape[1] / 2))]
        if self._tells is None:
            self._tells = await self._codec.engine.ready(EXPRESSION_MODEL)
        if self._tells:
            moved = np.ascontiguousarray(faces[:, PORTION_SLICES[Portion.EXPRESSION]])
            told = await self._codec.engine.infer(EXPRESSION_MODEL, {"descriptors": moved})
            effects.append(told["confidences"].astype(np.float64) / UNSURE)
        return np.concatenate(effects, axis=1)


def landmarks(faces: Descriptors) -> Array:
    """Return the 68 landmarks of ``faces`` (N, 257) in the face square as (N, 136), the square's side being 1."""
    groups = split(faces)
    mean, shape, expression = _heads()
    heads = mean + groups["shape"] @ shape + groups["expression"] @ expression
    points = project(heads.reshape(len(faces), -1, 3), groups["rotation"], groups["translation"])[0]
    return points.reshape(len(faces), -1).astype(np.float64)


def eye_distances(points: Array) -> Array:
    """Return how far the outer eye corners are apart (N,) among landmarks (N, 136), in the same unit."""
    first, second = (points[:, 2 * corner : 2 * corner + 2] for corner in OUTER_EYES)
    return np.linalg.norm(first - second, axis=1)


def _descend(metric: Array, pull: Array, costs: Array, lowest: Integers, highest: Integers) -> Integers:
    """Minimise x·metric·x − 2·pull·x + costs(x) over whole numbers x (n,), one step of one latent at a time.

    ``costs`` (n, 2·LIMIT + 1) of each value of each x; x stays within ``lowest`` and ``highest``. It starts from 0, so
    what need not move does not.
    """
    x, diagonal = np.zeros(len(pull), np.int64), np.diag(metric).copy()
    slope, doubled = -2 * pull, 2 * metric
    values = np.arange(-LIMIT - 1, LIMIT + 2)
    # One value more on each side, so that every x has neighbours; what may not be costs infinitely much.
    costs = np.pad(costs, ((0, 0), (1, 1)))
    costs[(values < lowest[:, None]) | (values > highest[:, None])] = np.inf
    now = costs[:, LIMIT + 1].copy()
    below, above = costs[:, LIMIT].copy(), costs[:, LIMIT + 2].copy()
    for _ in range(MOST_MOVES):
        down, up = diagonal - slope + below - now, diagonal + slope + above - now
        first, second = int(down.argmin()), int(up.argmin())
        step, place = (-1, first) if down[first] <= up[second] else (1, second)
        if (down if step < 0 else up)[place] >= 0:
            break
        x[place] += step
        column = int(x[place]) + LIMIT + 1
        below[place], now[place], above[place] = costs[place, column - 1 : column + 2]
        slope += step * doubled[place]
    return x


@cache
def _heads() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """The landmarks (68 · 3,) of the mean head, and how shape (80, 68 · 3) and expression (64, 68 · 3) move them."""
    model = MorphableModel.shipped()
    chosen = model.landmarks68
    mean, shape, expression = (
        basis[..., chosen, :].reshape(*basis.shape[:-2], -1)
        for basis in (model.mean_shape, model.shape_basis, model.expression_basis)
    )
    return mean, shape, expression
