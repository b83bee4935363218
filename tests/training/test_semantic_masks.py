"""The parts of a face that SLFER learns from: drawn where they are, and labels that tell something."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="training needs the extra `training`")
pytest.importorskip("tqdm")
pytest.importorskip("scipy")

from semface.morphable.camera import project
from semface.morphable.model import MorphableModel
from training.semantic_masks import (
    COMPONENTS,
    LEAST_ENTROPY,
    MASK_SIDE,
    areas,
    classification_labels,
    dominant,
    draw_mask,
    head_parts,
    label_entropies,
)


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    """Return the mask of the mean head, looking at us."""
    model = MorphableModel.shipped()
    pose = np.zeros((1, 3)), np.zeros((1, 3))
    head = project(model.mean_shape[None].astype(np.float64), *pose)[0][0]
    landmarks = project(model.landmarks(model.mean_shape[None]).astype(np.float64), *pose)[0][0]
    return draw_mask(landmarks, head, head_parts(model))


def middle(mask: np.ndarray, name: str) -> tuple[float, float]:
    rows, columns = np.nonzero(mask == COMPONENTS.index(name))
    return float(rows.mean()) / MASK_SIDE, float(columns.mean()) / MASK_SIDE


def test_all_eight_parts_are_there_from_top_to_bottom(mask: np.ndarray) -> None:
    assert set(np.unique(mask)) == set(range(len(COMPONENTS)))
    heights = [middle(mask, name)[0] for name in ("hair", "eye", "nose", "mouth", "neck")]
    assert heights == sorted(heights)


def test_the_mean_head_is_alike_on_both_sides(mask: np.ndarray) -> None:
    for name in COMPONENTS:
        assert middle(mask, name)[1] == pytest.approx(0.5, abs=0.02)
    assert (mask == mask[:, ::-1]).mean() > 0.95


def test_skin_is_the_largest_part_of_the_face_and_areas_add_up(mask: np.ndarray) -> None:
    (shares,) = areas(mask[None])
    assert shares.sum() == pytest.approx(1.0)
    face = [COMPONENTS.index(name) for name in ("skin", "eye", "nose", "mouth")]
    assert shares[face].argmax() == 0


def test_so_many_components_are_dominant_by_area_or_over_their_mean() -> None:
    shares = np.array([[0.5, 0.3, 0.2], [0.6, 0.1, 0.3]])
    np.testing.assert_array_equal(dominant(shares, 1), [[True, False, False]] * 2)
    over = dominant(shares, 1, np.array([0.9, 0.1, 0.3]))
    np.testing.assert_array_equal(over, [[False, True, False], [False, True, False]])


def test_a_label_that_is_always_the_same_has_no_entropy() -> None:
    chosen = np.array([[True, True], [True, False]])
    np.testing.assert_allclose(label_entropies(chosen), [0.0, 1.0], atol=1e-9)


def test_labels_are_ranked_over_the_mean_where_areas_tell_nothing() -> None:
    random = np.random.default_rng(0)
    shares = np.array([0.6, 0.3, 0.1]) * random.uniform(0.9, 1.1, (500, 3))
    labels, relative = classification_labels(shares, 2)
    assert relative
    assert label_entropies(labels).min() > LEAST_ENTROPY
    telling = random.dirichlet([1.0, 1.0, 1.0], 500)
    labels, relative = classification_labels(telling, 2)
    assert not relative
    np.testing.assert_array_equal(labels, dominant(telling, 2))
