"""What the last step of extraction promises: closer to the pixels, near the network's word, the same in any batch."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `training`")
pytest.importorskip("tqdm")
pytest.importorskip("scipy", reason="training needs the extra `training`")

from semface.descriptors import DESCRIPTOR_SIZE, GROUPS  # noqa: E402
from semface.extraction.alignment import CROP_SIZE  # noqa: E402
from semface.morphable.model import MorphableModel  # noqa: E402
from semface.morphable.rendering import draw  # noqa: E402
from training.extractor_refinement import PixelRefinement  # noqa: E402

MODEL = MorphableModel.shipped()
FITTED = [*range(80, 160), *range(230, 257)]


def known_faces(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return descriptors (N, 257) and drawn faces (N, 112, 112, 3)."""
    random = np.random.default_rng(3)
    truth = np.zeros((count, DESCRIPTOR_SIZE), np.float32)
    truth[:, :224] = 0.6 * random.standard_normal((count, 224))
    truth[:, GROUPS["illumination"]] = 0.08 * random.standard_normal((count, 27))
    pictures = np.full((count, CROP_SIZE, CROP_SIZE, 3), 90.0)
    for row, picture in zip(truth, pictures, strict=True):
        seen, colours = draw(MODEL, row[None], (0.0, 0.0), CROP_SIZE, CROP_SIZE, CROP_SIZE)
        drawn = seen.triangle >= 0
        corners = colours[MODEL.triangles[seen.triangle[drawn]]]
        picture[drawn] = (corners * seen.weights[drawn][:, :, None]).sum(axis=1)
    return truth, pictures


def refined(pictures: np.ndarray, told: np.ndarray) -> np.ndarray:
    pixels = torch.tensor(pictures, dtype=torch.float32).permute(0, 3, 1, 2)
    with torch.no_grad():
        return PixelRefinement(MODEL)(pixels, torch.tensor(told)).numpy()


def test_texture_and_light_come_nearer_to_those_that_were_drawn() -> None:
    truth, pictures = known_faces(4)
    told = truth.copy()
    told[:, FITTED] = 0.0
    found = refined(pictures, told)
    albedo = MODEL.texture_basis[:, MODEL.face_region].reshape(80, -1)
    before, after = (
        np.abs((d[:, 80:160] - truth[:, 80:160]) @ albedo).mean() + 100 * np.abs(d[:, 230:] - truth[:, 230:]).mean()
        for d in (told, found)
    )
    assert after < 0.75 * before


def test_geometry_is_left_alone() -> None:
    truth, pictures = known_faces(2)
    others = [column for column in range(DESCRIPTOR_SIZE) if column not in FITTED]
    np.testing.assert_array_equal(refined(pictures, truth)[:, others], truth[:, others])


def test_what_is_right_already_stays_nearly_as_it_is() -> None:
    truth, pictures = known_faces(2)
    assert np.abs(refined(pictures, truth) - truth)[:, 80:160].mean() < 0.1


def test_a_face_does_not_depend_on_its_company() -> None:
    truth, pictures = known_faces(3)
    truth[:, FITTED] = 0.0
    together, alone = refined(pictures, truth), refined(pictures[1:2], truth[1:2])
    np.testing.assert_allclose(together[1:2], alone, atol=1e-4)


def test_a_covered_half_changes_texture_no_more_than_the_prior_allows() -> None:
    truth, pictures = known_faces(2)
    covered = pictures.copy()
    covered[:, CROP_SIZE // 2 :] = 0.0
    assert np.abs(refined(covered, truth) - truth)[:, 80:160].mean() < 0.5
