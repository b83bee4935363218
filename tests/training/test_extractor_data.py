"""What the extraction network is shown: mirrored and turned faces keep the truth about them, damage is damage."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `training`")
pytest.importorskip("tqdm")

from semface.morphable.camera import rotation_matrix  # noqa: E402
from semface.morphable.model import MorphableModel  # noqa: E402
from training.extractor_data import _affine, _moved, _turned, damaged, mirror_matrix  # noqa: E402


def test_a_mirrored_head_has_the_mirrored_coefficients() -> None:
    model = MorphableModel.shipped()
    coefficients = np.random.default_rng(0).normal(size=(1, 80)).astype(np.float32)
    mirrored = coefficients @ mirror_matrix(model.shape_basis, model.mirror)
    none = np.zeros((1, 64), np.float32)
    head, other = model.vertices(coefficients, none)[0], model.vertices(mirrored, none)[0]
    np.testing.assert_allclose(other, head[model.mirror] * [-1.0, 1.0, 1.0], atol=0.3)


def test_a_crop_that_is_not_augmented_keeps_its_landmarks_and_its_rotation() -> None:
    affine = _affine(1, torch.zeros(1, dtype=torch.bool), None)
    landmarks = torch.rand(1, 5, 2)
    torch.testing.assert_close(_moved(landmarks, affine), landmarks)
    rotation = torch.tensor(rotation_matrix(np.array([[0.1, 0.5, -0.2]])), dtype=torch.float32)
    torch.testing.assert_close(_turned(rotation.transpose(1, 2), affine).transpose(1, 2), rotation)


def test_landmarks_turn_in_the_picture_as_the_head_turns() -> None:
    affine = _affine(1, torch.zeros(1, dtype=torch.bool), torch.Generator().manual_seed(5))
    across = torch.tensor([[[0.4, 0.5], [0.6, 0.5]]])
    moved = _moved(across, affine)
    step = (moved[0, 1] - moved[0, 0]) * torch.tensor([1.0, -1.0])
    # The x axis of a head that looks straight, seen in a picture whose y axis points down.
    turned = _turned(torch.eye(3)[None], affine)[0, 0, :2]
    torch.testing.assert_close(torch.nn.functional.normalize(step, dim=0), turned)


def test_damage_hides_or_blurs_some_faces_and_leaves_most_alone() -> None:
    pixels = torch.rand(200, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 255.0
    changed = (damaged(pixels, torch.Generator().manual_seed(2)) != pixels).flatten(1).any(dim=1)
    assert 0.2 < changed.float().mean() < 0.45
