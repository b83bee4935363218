"""Synthetic scans of the ICT face model: what is drawn, and that it is drawn the same again."""

from pathlib import Path

import numpy as np
import pytest

from semface.errors import Reason, SemfaceError
from semface.evaluation.synthetic_faces import IctModel
from semface.evaluation.synthetic_scans import DEPTH_NOISE, EXPRESSION_UNITS, ScanGenerator
from semface.extraction.scans.mesh import check_scan
from semface.meaning import SCAN_EXPRESSIONS
from semface.morphable.model import MorphableModel


@pytest.fixture(scope="module")
def ict(datasets: Path) -> IctModel:
    return IctModel.load(datasets / "ict_face.npz")


@pytest.fixture(scope="module")
def generator(ict: IctModel) -> ScanGenerator:
    return ScanGenerator(ict, MorphableModel.shipped())


def test_each_of_the_sixteen_has_its_units() -> None:
    assert tuple(EXPRESSION_UNITS) == SCAN_EXPRESSIONS


def test_a_scan_is_the_same_again_and_no_other(generator: ScanGenerator) -> None:
    first, again = generator.scan(7, 3), generator.scan(7, 3)
    np.testing.assert_array_equal(first.vertices, again.vertices)
    np.testing.assert_array_equal(first.triangles, again.triangles)
    for person, expression, take in ((8, 3, 0), (7, 4, 0), (7, 3, 1)):
        assert np.abs(generator.scan(person, expression, take).vertices - first.vertices).max() > 1


def test_a_scan_is_a_mesh_with_colours_and_at_most_three_small_holes(generator: ScanGenerator, ict: IctModel) -> None:
    for number in range(16):
        scan = generator.scan(number, number)
        check_scan(scan)
        assert scan.colours is not None
        assert scan.colours.min() >= 0
        assert scan.colours.max() <= 255
        # A hole of 15 mm takes some two hundred of its triangles.
        assert len(ict.filled_triangles) - len(scan.triangles) < 1200


def test_noise_is_along_the_view_alone(generator: ScanGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = generator.scan(3, 0).vertices
    monkeypatch.setattr("semface.evaluation.synthetic_scans.DEPTH_NOISE", 0.0)
    difference = noisy - generator.scan(3, 0).vertices
    assert not difference[:, :2].any()
    assert difference[:, 2].std() == pytest.approx(DEPTH_NOISE, rel=0.05)


def test_a_model_without_the_units_is_told(ict: IctModel) -> None:
    lacking = IctModel(ict.mean, ict.identity, ict.expression, ("none",) * 55, ict.triangles, ict.landmarks68)
    with pytest.raises(SemfaceError) as caught:
        ScanGenerator(lacking, MorphableModel.shipped())
    assert caught.value.reason is Reason.FIELD_INVALID
