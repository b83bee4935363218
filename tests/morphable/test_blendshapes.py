"""ARKit's weights of our expressions."""

import numpy as np
import pytest

from semface.descriptors import DESCRIPTOR_SIZE, Portion
from semface.errors import Reason, SemfaceError
from semface.morphable.blendshapes import (
    ARKIT_NAMES,
    Blendshapes,
    arkit_weights,
    decoded_weights,
    expression_hash,
)
from semface.morphable.model import MorphableModel


def some_expression(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=64).astype(np.float32)


def nearest_expression(offsets: np.ndarray) -> np.ndarray:
    """Return the δ (64,) whose motion comes nearest to ``offsets`` (V, 3) of the head's vertices."""
    basis = MorphableModel.shipped().expression_basis.reshape(64, -1)
    return np.linalg.lstsq(basis.T, offsets.ravel(), rcond=None)[0]


def other_side(name: str) -> str:
    return name.replace("Left", "@").replace("Right", "Left").replace("@", "Right")


def test_there_are_arkit_s_52_names() -> None:
    assert len(set(ARKIT_NAMES)) == 52
    assert {"eyeBlinkLeft", "jawOpen", "mouthSmileRight", "browInnerUp", "cheekPuff", "tongueOut"} < set(ARKIT_NAMES)


def test_the_products_belong_to_the_head_that_ships() -> None:
    """After a new head.npz run ``training.arkit_blendshapes`` again."""
    assert Blendshapes.shipped().head_hash == expression_hash(MorphableModel.shipped())


def test_a_neutral_face_has_no_weights_and_no_face_has_any_beyond_one() -> None:
    assert set(arkit_weights(np.zeros(64)).values()) == {0.0}
    weights = Blendshapes.shipped().weights(np.stack([10 * some_expression(seed) for seed in range(20)]))
    assert weights.shape == (20, 52)
    assert weights.min() == 0
    assert weights.max() == 1


def test_weights_are_the_best_within_their_bounds() -> None:
    shapes, expression = Blendshapes.shipped(), some_expression(1).astype(float)
    weights = shapes.weights(expression)[0]
    slope = shapes.own @ weights - expression @ shapes.directions
    tolerance = 1e-2 * np.abs(expression @ shapes.directions).max()
    inside = (weights > 0) & (weights < 1)
    assert np.abs(slope[inside]).max() < tolerance
    assert slope[weights == 0].min() > -tolerance
    assert slope[weights == 1].max(initial=0) < tolerance


def test_a_mirrored_expression_has_mirrored_weights() -> None:
    model = MorphableModel.shipped()
    expression = 1.5 * some_expression(2)
    offsets = np.tensordot(expression, model.expression_basis, 1)
    mirrored = arkit_weights(nearest_expression(offsets[model.mirror] * np.array([-1, 1, 1])))
    for name, weight in arkit_weights(expression).items():
        assert mirrored[other_side(name)] == pytest.approx(weight, abs=0.05)


def test_a_lowered_chin_opens_the_jaw_and_a_wider_mouth_does_not() -> None:
    model = MorphableModel.shipped()
    chin, lip = model.landmarks68[8], model.landmarks68[57]
    down = -model.expression_basis[:, [chin, lip], 1].sum(axis=1)
    opened = arkit_weights(6 * down / np.linalg.norm(down))
    closed = arkit_weights(-6 * down / np.linalg.norm(down))
    assert opened["jawOpen"] > 0.2 > closed["jawOpen"]


def test_a_frame_without_expression_has_no_weights() -> None:
    with pytest.raises(SemfaceError) as refused:
        decoded_weights(np.zeros(DESCRIPTOR_SIZE, np.float32), Portion.IDENTITY)
    assert refused.value.reason is Reason.GROUP_ABSENT


def test_a_named_expression_has_its_name_s_weight_and_what_is_not_held_is_zero() -> None:
    named = Blendshapes.shipped().expressions
    weights = Blendshapes.shipped().weights(0.6 * named)
    for name in ("eyeBlinkLeft", "mouthSmileRight", "browInnerUp", "jawOpen", "mouthPucker", "browDownLeft"):
        number = ARKIT_NAMES.index(name)
        assert weights[number].argmax() == number
        assert 0.3 < weights[number, number] < 0.8
    assert not named[ARKIT_NAMES.index("tongueOut")].any()
    assert not named[ARKIT_NAMES.index("eyeLookUpLeft")].any()
