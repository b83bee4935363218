"""What the extraction network promises before it has learned: places of landmarks, and how α is held steady."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `training`")

from semface.descriptors import DESCRIPTOR_SIZE  # noqa: E402
from training.extractor_losses import _unsteadiness, spread_points  # noqa: E402
from training.extractor_network import KEYPOINTS, MAP_SIDE, DescriptorExtractor, Keypoints  # noqa: E402


def test_a_landmark_is_told_where_its_map_is_bright() -> None:
    keypoints = Keypoints(4, 4)
    with torch.no_grad():
        for part in (keypoints.coarse, keypoints.around, keypoints.maps, keypoints.fine):
            part.weight.zero_()
            part.bias.zero_()
        keypoints.fine.weight[0, 0] = keypoints.around.weight[0, 0, 1, 1] = 1.0
        keypoints.maps.weight[7, 0] = 50.0
        bright = torch.zeros(1, 4, MAP_SIDE, MAP_SIDE)
        bright[0, 0, 5, 12] = 1.0
        places = keypoints(bright, torch.zeros(1, 4, MAP_SIDE // 2, MAP_SIDE // 2))[0]
    torch.testing.assert_close(places[7], torch.tensor([12.5, 5.5]) / MAP_SIDE)
    torch.testing.assert_close(places[8], torch.tensor([0.5, 0.5]))


def test_it_gives_all_descriptors_a_quality_and_the_landmarks() -> None:
    descriptors, quality, keypoints = DescriptorExtractor().read(torch.rand(2, 3, 112, 112) * 255.0)
    assert descriptors.shape == (2, DESCRIPTOR_SIZE)
    assert quality.shape == (2, 1)
    assert keypoints.shape == (2, KEYPOINTS, 2)
    assert ((keypoints > 0.0) & (keypoints < 1.0)).all()


def test_spread_points_leave_no_two_neighbours() -> None:
    line = np.zeros((10, 3))
    line[:, 0] = np.arange(10)
    assert spread_points(line, 4).tolist() == [0, 2, 4, 9]


def test_a_shape_that_never_changes_within_a_person_is_perfectly_steady() -> None:
    people = torch.randn(5, DESCRIPTOR_SIZE, generator=torch.Generator().manual_seed(1))
    numbers = torch.arange(5).repeat_interleave(2)
    assert float(_unsteadiness(people[numbers], numbers)) == pytest.approx(0.0, abs=1e-6)


def test_a_shape_of_pure_noise_is_as_different_within_a_person_as_between() -> None:
    noise = torch.randn(400, DESCRIPTOR_SIZE, generator=torch.Generator().manual_seed(2))
    assert float(_unsteadiness(noise, torch.arange(200).repeat_interleave(2))) == pytest.approx(1.0, abs=0.1)


def test_without_renders_there_is_nothing_to_hold_steady() -> None:
    assert float(_unsteadiness(torch.zeros(0, DESCRIPTOR_SIZE), torch.zeros(0))) == 0.0
