"""What the extraction network promises before it has learned: places of landmarks, and how α is held steady."""

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `training`")

from semface.descriptors import DESCRIPTOR_SIZE  # noqa: E402
from semface.morphable.model import MorphableModel  # noqa: E402
from training.extractor_losses import _unsteadiness  # noqa: E402
from training.extractor_network import (  # noqa: E402
    CORRECTED,
    CORRECTION_WIDTH,
    INPUT_SIZE,
    KEYPOINTS,
    MAP_CHANNELS,
    MAP_SIDE,
    POINT_SCALE,
    Correction,
    Corrector,
    DescriptorExtractor,
    FineCorrection,
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


def features_of(corrector: Corrector, seed: int) -> list[torch.Tensor]:
    """Return features of two crops as ``corrector`` takes them."""
    sizes = {
        Correction: [(MAP_CHANNELS, MAP_SIDE)],
        FineCorrection: [(64, INPUT_SIZE // 2), (128, INPUT_SIZE // 4)],
    }
    torch.manual_seed(seed)
    return [torch.randn(2, channels, side, side) for channels, side in sizes[type(corrector)]]


@pytest.fixture(params=[Correction, FineCorrection])
def corrector(request: pytest.FixtureRequest) -> Corrector:
    torch.manual_seed(0)
    return request.param(MorphableModel.shipped())


def test_what_was_told_stays_until_the_correction_has_learned(corrector: Corrector) -> None:
    told = torch.randn(2, DESCRIPTOR_SIZE) * 0.1
    assert not corrector(told, told, features_of(corrector, 1), torch.rand(2, KEYPOINTS, 2)).any()


def test_the_correction_sees_how_many_millimetres_a_landmark_lies_from_the_head(corrector: Corrector) -> None:
    right_and_down = torch.zeros(2, KEYPOINTS, 2)
    right_and_down[0, 0] = torch.tensor([0.01, 0.02])
    told = torch.zeros(2, DESCRIPTOR_SIZE)
    with torch.no_grad():
        # The first descriptors that are changed become the first keypoints' ways, in millimetres.
        first = corrector.change.in_features - CORRECTION_WIDTH - len(CORRECTED) - 3 * KEYPOINTS
        for number in range(6):
            corrector.change.weight[number, first + number] = 1.0 / POINT_SCALE
        keypoints = corrector.points.project(told) + right_and_down
        answer, other = corrector(told, told, features_of(corrector, 1), keypoints)
    assert answer[0] > 1.0
    assert float(answer[1] / answer[0]) == pytest.approx(-2.0, abs=1e-3)
    torch.testing.assert_close(answer[2:], torch.zeros_like(answer[2:]), atol=1e-4, rtol=0.0)
    torch.testing.assert_close(other, torch.zeros_like(other), atol=1e-4, rtol=0.0)


def test_a_correction_looks_only_where_the_head_lies(corrector: Corrector) -> None:
    places = corrector.points.project(torch.zeros(2, DESCRIPTOR_SIZE))
    whole, far_away = features_of(corrector, 1), features_of(corrector, 1)
    for features in far_away:
        # The head's points lie in the middle of the crop.
        features[..., :2, :] = 0.0
    with torch.no_grad():
        torch.testing.assert_close(corrector.look(whole, places), corrector.look(far_away, places))
        assert not torch.allclose(corrector.look(whole, places), corrector.look(whole, places + 0.05))


def test_a_shape_that_never_changes_within_a_person_is_perfectly_steady() -> None:
    people = torch.randn(5, DESCRIPTOR_SIZE, generator=torch.Generator().manual_seed(1))
    numbers = torch.arange(5).repeat_interleave(2)
    assert float(_unsteadiness(people[numbers], numbers)) == pytest.approx(0.0, abs=1e-6)


def test_a_shape_of_pure_noise_is_as_different_within_a_person_as_between() -> None:
    noise = torch.randn(400, DESCRIPTOR_SIZE, generator=torch.Generator().manual_seed(2))
    assert float(_unsteadiness(noise, torch.arange(200).repeat_interleave(2))) == pytest.approx(1.0, abs=0.1)


def test_without_renders_there_is_nothing_to_hold_steady() -> None:
    assert float(_unsteadiness(torch.zeros(0, DESCRIPTOR_SIZE), torch.zeros(0))) == 0.0
