"""What the extraction network promises before it has learned: places of landmarks, and how α is held steady."""

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `training`")

from semface.descriptors import DESCRIPTOR_SIZE  # noqa: E402
from semface.morphable.model import MorphableModel  # noqa: E402
from training.extractor_losses import _unsteadiness  # noqa: E402
from training.extractor_network import (  # noqa: E402
    KEYPOINTS,
    MAP_CHANNELS,
    MAP_SIDE,
    POINT_CHANNELS,
    POINT_SCALE,
    Correction,
    DescriptorExtractor,
    Keypoints,
)


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
        places = keypoints(bright, torch.zeros(1, 4, MAP_SIDE // 2, MAP_SIDE // 2))[0][0]
    torch.testing.assert_close(places[7], torch.tensor([12.5, 5.5]) / MAP_SIDE)
    torch.testing.assert_close(places[8], torch.tensor([0.5, 0.5]))


def test_it_gives_all_descriptors_a_quality_and_the_landmarks() -> None:
    network = DescriptorExtractor(MorphableModel.shipped())
    descriptors, quality, keypoints = network.read(torch.rand(2, 3, 112, 112) * 255.0)
    assert descriptors.shape == (2, DESCRIPTOR_SIZE)
    assert quality.shape == (2, 1)
    assert keypoints.shape == (2, KEYPOINTS, 2)
    assert ((keypoints > 0.0) & (keypoints < 1.0)).all()


def ways_seen(shift: torch.Tensor) -> torch.Tensor:
    """Return what a correction sees of keypoints that lie ``shift`` (1, KEYPOINTS, 2) from the mean head's."""
    correction = Correction(MorphableModel.shipped())
    told = torch.zeros(1, DESCRIPTOR_SIZE)
    first = KEYPOINTS * POINT_CHANNELS
    with torch.no_grad():
        # The first descriptors that are changed become the first keypoints' ways, in millimetres.
        for number in range(6):
            correction.change.weight[number, first + number] = 1.0 / POINT_SCALE
        features = torch.zeros(1, MAP_CHANNELS, MAP_SIDE, MAP_SIDE)
        return correction(told, told, features, correction.points.project(told) + shift)[0]


def test_what_was_told_stays_until_the_correction_has_learned() -> None:
    correction = Correction(MorphableModel.shipped())
    told, features = torch.randn(2, DESCRIPTOR_SIZE) * 0.1, torch.randn(2, MAP_CHANNELS, MAP_SIDE, MAP_SIDE)
    assert not correction(told, told, features, torch.rand(2, KEYPOINTS, 2)).any()


def test_the_correction_sees_how_many_millimetres_a_landmark_lies_from_the_head() -> None:
    right_and_down = torch.zeros(1, KEYPOINTS, 2)
    right_and_down[0, 0] = torch.tensor([0.01, 0.02])
    answer = ways_seen(right_and_down)
    assert answer[0] > 1.0
    assert float(answer[1] / answer[0]) == pytest.approx(-2.0, abs=1e-3)
    torch.testing.assert_close(answer[2:], torch.zeros_like(answer[2:]), atol=1e-4, rtol=0.0)


def test_a_shape_that_never_changes_within_a_person_is_perfectly_steady() -> None:
    people = torch.randn(5, DESCRIPTOR_SIZE, generator=torch.Generator().manual_seed(1))
    numbers = torch.arange(5).repeat_interleave(2)
    assert float(_unsteadiness(people[numbers], numbers)) == pytest.approx(0.0, abs=1e-6)


def test_a_shape_of_pure_noise_is_as_different_within_a_person_as_between() -> None:
    noise = torch.randn(400, DESCRIPTOR_SIZE, generator=torch.Generator().manual_seed(2))
    assert float(_unsteadiness(noise, torch.arange(200).repeat_interleave(2))) == pytest.approx(1.0, abs=0.1)


def test_without_renders_there_is_nothing_to_hold_steady() -> None:
    assert float(_unsteadiness(torch.zeros(0, DESCRIPTOR_SIZE), torch.zeros(0))) == 0.0
