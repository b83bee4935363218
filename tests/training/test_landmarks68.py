"""Promises of the choice of our 68 vertices on the mean ICT face."""

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("scipy", reason="training needs the extra `training`")

from semface.evaluation.synthetic_faces import IctModel
from semface.morphable.model import MorphableModel
from semface.morphable.similarity import similarity
from training.datasets import root
from training.landmarks68 import MIRROR_68, carried_landmarks, choose_landmarks68, with_landmarks68

MODEL = MorphableModel.shipped()


@pytest.fixture(scope="module")
def ict() -> IctModel:
    path = root() / "ict_face.npz"
    if not path.exists():
        pytest.skip("the shared data sets are not here; SEMFACE_DATASETS names their folder")
    return IctModel.load(path)


@pytest.fixture(scope="module")
def chosen(ict: IctModel) -> NDArray[np.int32]:
    return choose_landmarks68(
        MODEL.mean_shape, MODEL.mirror, MODEL.face_region, MODEL.landmark_corners, MODEL.landmarks68, ict
    )


def test_each_of_the_68_is_the_mirror_image_of_its_opposite(chosen: NDArray[np.int32]) -> None:
    np.testing.assert_array_equal(MODEL.mirror[chosen], chosen[list(MIRROR_68)])


def test_they_are_68_vertices_of_the_skin(chosen: NDArray[np.int32]) -> None:
    assert MODEL.face_region[chosen].all()
    # Only where the lips meet may the same vertex serve twice.
    assert len(set(chosen.tolist())) >= 66


def test_lids_and_lips_keep_their_order(chosen: NDArray[np.int32]) -> None:
    x, y, _ = MODEL.mean_shape[chosen].T
    assert (np.diff(x[[36, 37, 38, 39, 42, 43, 44, 45]]) > 0).all()
    assert (y[[37, 38, 43, 44]] > y[[41, 40, 47, 46]]).all()
    assert (np.diff(x[[48, 49, 50, 51, 52, 53, 54]]) > 0).all()
    assert (np.diff(x[[59, 58, 57, 56, 55]]) > 0).all()
    assert y[51] > y[62] >= y[66] > y[57]


def test_features_that_both_heads_have_come_to_the_same_place(ict: IctModel) -> None:
    carried = carried_landmarks(MODEL.mean_shape, MODEL.landmarks68, ict)
    eyes = [36, 39, 42, 45]
    present = MODEL.mean_shape[MODEL.landmarks68]
    np.testing.assert_allclose(carried[eyes], present[eyes], atol=0.5)
    # The rest is that of the other head: only its size and place changed much.
    by = similarity(ict.mean[ict.landmarks68], carried)
    moved = by.scale * ict.mean[ict.landmarks68] @ by.rotation.T + by.shift
    assert np.linalg.norm(carried - moved, axis=1).mean() < 4.0


def test_the_shipped_model_has_them_and_needs_no_more(ict: IctModel, chosen: NDArray[np.int32]) -> None:
    wanted = carried_landmarks(MODEL.mean_shape, MODEL.landmarks68, ict)
    places = MODEL.mean_shape[MODEL.landmarks68]
    assert np.linalg.norm((places - wanted)[:, :2], axis=1).mean() < 1.2
    again = with_landmarks68(MODEL, MODEL.face_region, ict)
    assert len(again.mean_shape) - len(MODEL.mean_shape) <= 2
    assert (again.landmarks68 == MODEL.landmarks68).mean() > 0.9


def test_vertices_are_put_where_none_is_near_and_the_surface_stays(ict: IctModel) -> None:
    # The landmarks of a longer head lie elsewhere than those of the shipped model.
    longer = dataclasses.replace(ict, mean=ict.mean * [1.0, 1.15, 1.0])
    more = with_landmarks68(MODEL, MODEL.face_region, longer)
    wanted = carried_landmarks(MODEL.mean_shape, MODEL.landmarks68, longer)
    plain = choose_landmarks68(
        MODEL.mean_shape, MODEL.mirror, MODEL.face_region, MODEL.landmark_corners, MODEL.landmarks68, longer
    )
    before = np.linalg.norm(MODEL.mean_shape[plain] - wanted, axis=1).mean()
    assert np.linalg.norm(more.mean_shape[more.landmarks68] - wanted, axis=1).mean() < 0.85 * before
    assert len(more.mean_shape) > len(MODEL.mean_shape) + 10
    np.testing.assert_array_equal(more.mirror[more.mirror], np.arange(len(more.mean_shape)))
    np.testing.assert_array_equal(more.mirror[more.landmarks68], more.landmarks68[list(MIRROR_68)])
    # No gap opens: as many edges have one triangle only as before. No triangle turns over.
    assert _borders(more.triangles) == _borders(MODEL.triangles)
    old, new = MODEL.normals(MODEL.mean_shape[None])[0], more.normals(more.mean_shape[None])[0]
    assert (old * new[: len(old)]).sum(axis=1).min() > 0.99
    coefficients = np.random.default_rng(6).normal(size=(1, 144)).astype(np.float32)
    heads = [model.vertices(coefficients[:, :80], coefficients[:, 80:])[0] for model in (MODEL, more)]
    np.testing.assert_allclose(heads[1][: len(heads[0])], heads[0], atol=1e-3)


def _borders(triangles: NDArray[np.int32]) -> int:
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    return int((np.unique(edges, axis=0, return_counts=True)[1] == 1).sum())


def test_the_point_under_the_nose_lies_in_the_corner_that_the_profile_makes_there() -> None:
    profile = MODEL.mean_shape[MODEL.landmarks68]
    tip, corner, lip = profile[30], profile[33], profile[51]
    middle = MODEL.mean_shape[np.abs(MODEL.mean_shape[:, 0]) < 0.5]
    between = middle[(middle[:, 1] < tip[1]) & (middle[:, 1] > lip[1]) & (middle[:, 2] > lip[2])]
    line = lip - tip
    behind = [float(np.linalg.norm(np.cross(line, point - tip))) for point in (corner, *between)]
    assert behind[0] == pytest.approx(max(behind), rel=0.05)
