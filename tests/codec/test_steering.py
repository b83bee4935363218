"""The sender's choice: what it may choose, and that nothing near is better."""

import numpy as np
import pytest

from semface.codec.core import Codec
from semface.codec.prediction import LIMIT, Motion
from semface.codec.steering import Steering, _descend, landmarks
from semface.descriptors import GROUPS, Portion
from semface.morphable.camera import project
from semface.morphable.model import MorphableModel
from tests.codec.faces import faces

SIZE = 24


@pytest.mark.parametrize("seed", range(20))
def test_no_single_step_is_better_than_what_was_found(seed: int) -> None:
    random = np.random.default_rng(seed)
    slopes = random.normal(size=(2 * SIZE, SIZE))
    metric, pull = slopes.T @ slopes / SIZE + 0.03 * np.eye(SIZE), 5 * random.normal(size=SIZE)
    costs = 0.08 * np.abs(np.arange(-LIMIT, LIMIT + 1)) * random.uniform(0.5, 5, (SIZE, 1))
    lowest, highest = random.integers(-4, 1, SIZE), random.integers(0, 5, SIZE)

    def cost(x: np.ndarray) -> float:
        return float(x @ metric @ x - 2 * pull @ x + costs[np.arange(SIZE), x + LIMIT].sum())

    chosen = _descend(metric, pull, costs, lowest, highest)
    assert (lowest <= chosen).all()
    assert (chosen <= highest).all()
    assert cost(chosen) < cost(np.zeros(SIZE, np.int64))
    for step in np.concatenate([np.eye(SIZE, dtype=np.int64), -np.eye(SIZE, dtype=np.int64)]):
        other = chosen + step
        if (lowest <= other).all() and (other <= highest).all():
            assert cost(other) >= cost(chosen) - 1e-9


async def test_what_is_chosen_stays_within_the_tables_and_a_jump_is_given_up(codec: Codec) -> None:
    first, second = faces(2)
    prior = codec.quality("high").portions[Portion.EXPRESSION]
    motion = Motion.after_key(prior.quantise(await codec.analyse(first[None]))[0])
    steering = Steering(codec)
    near = await steering.choose(prior, motion, first + np.float32(0.2) * (second - first))
    assert near is not None
    assert near.any()
    assert ((motion.latents + near >= 0) & (motion.latents + near < prior.tables.symbols)).all()
    assert await steering.choose(prior, motion, first + 1000 * (second - first)) is None


def test_landmarks_are_the_projected_vertices_of_the_head() -> None:
    model, some = MorphableModel.shipped(), faces(3)
    heads = model.vertices(some[:, GROUPS["shape"]], some[:, GROUPS["expression"]])[:, model.landmarks68]
    points = project(heads, some[:, GROUPS["rotation"]], some[:, GROUPS["translation"]])[0]
    np.testing.assert_allclose(landmarks(some), points.reshape(3, 136), atol=1e-5)
