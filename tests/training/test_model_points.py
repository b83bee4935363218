"""Points of the model are seen where the rest of the system sees them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `training`")

from semface.descriptors import DESCRIPTOR_SIZE, GROUPS, split  # noqa: E402
from semface.morphable.camera import project  # noqa: E402
from semface.morphable.model import MorphableModel  # noqa: E402
from training.model_points import ModelPoints, keypoint_landmarks, spread_points  # noqa: E402

MODEL = MorphableModel.shipped()


def turned_faces() -> np.ndarray:
    descriptors = np.random.default_rng(0).normal(0.0, 1.0, (3, DESCRIPTOR_SIZE)).astype(np.float32)
    descriptors[:, GROUPS["rotation"]] *= 0.3
    descriptors[:, GROUPS["translation"]] *= 10.0
    return descriptors


def test_landmarks_are_projected_as_the_system_projects_them() -> None:
    descriptors = turned_faces()
    groups = split(descriptors)
    vertices = MODEL.vertices(groups["shape"], groups["expression"])
    pose = (groups["rotation"], groups["translation"])
    dense, some = project(MODEL.landmarks(vertices), *pose)[0], project(vertices[:, MODEL.landmarks68], *pose)[0]
    told = torch.tensor(descriptors)
    np.testing.assert_allclose(ModelPoints.dense_landmarks(MODEL).project(told), dense, atol=1e-4)
    np.testing.assert_allclose(ModelPoints.landmarks68(MODEL).project(told), some, atol=1e-4)


def test_keypoints_are_the_68_landmarks_and_some_of_the_468() -> None:
    told = torch.tensor(turned_faces())
    places = ModelPoints.keypoints(MODEL, 100).project(told)
    dense = ModelPoints.dense_landmarks(MODEL).project(told)[:, keypoint_landmarks(MODEL, 100)]
    torch.testing.assert_close(places, torch.cat([ModelPoints.landmarks68(MODEL).project(told), dense], dim=1))


def test_spread_points_leave_no_two_neighbours() -> None:
    line = np.zeros((10, 3))
    line[:, 0] = np.arange(10)
    assert spread_points(line, 4).tolist() == [0, 2, 4, 9]
