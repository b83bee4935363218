from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from semface.descriptors import DESCRIPTOR_SIZE, GROUPS
from semface.extraction.alignment import crop_face
from semface.extraction.core import Extractor
from semface.extraction.quality import (
    COMPLAINTS,
    QualityFactors,
    fine_detail,
    frontality,
    frontality_of_landmarks,
    share_inside,
)
from semface.inference.embedded import EmbeddedEngine
from tests.extraction.conftest import Pixels
from tests.extraction.renders import drawn_face

FACE = (166.0, 60.0, 120.0)
"""The face square of the photograph, nearly: left, top, side."""

shares = st.floats(0, 1)
factors = st.builds(QualityFactors, *[shares] * len(fields(QualityFactors)))


def turned(pitch: float, yaw: float, roll: float) -> np.ndarray:
    """Return descriptors (257,) of a head turned by these degrees."""
    values = np.zeros(DESCRIPTOR_SIZE, np.float32)
    values[GROUPS["rotation"]] = np.radians([pitch, yaw, roll])
    return values


async def quality_of(engine: EmbeddedEngine, picture: Image.Image) -> float:
    """Return the quality of the one face of ``picture``, 0 where none is found."""
    faces = await Extractor(engine).extract(np.asarray(picture))
    assert len(faces) <= 1
    return faces[0].quality if faces else 0.0


@given(factors, st.sampled_from(list(COMPLAINTS)), shares)
def test_quality_lies_between_0_and_1_and_no_factor_lowers_it_by_growing(
    face: QualityFactors, factor: str, other: float
) -> None:
    worse, better = sorted([face, replace(face, **{factor: other})], key=lambda changed: getattr(changed, factor))
    assert 0 <= worse.quality <= better.quality <= 1
    assert better.quality <= min(getattr(better, name) for name in COMPLAINTS)


def test_each_factor_has_its_complaint_and_the_worst_is_told() -> None:
    good = QualityFactors(*[1.0] * len(COMPLAINTS))
    assert good.quality == 1
    assert list(COMPLAINTS) == [field.name for field in fields(QualityFactors)]
    for name, complaint in COMPLAINTS.items():
        assert replace(good, **{name: 0.5}).complaint == complaint


@settings(deadline=None, max_examples=30)
@given(st.tuples(st.floats(-20, 20), st.floats(-20, 20), st.floats(-30, 60)), st.floats(0.6, 4))
def test_blurring_any_view_of_a_face_lowers_its_sharpness(
    photograph: Pixels, shift: tuple[float, float, float], radius: float
) -> None:
    left, top, side = (value + change for value, change in zip(FACE, shift, strict=True))
    sharp = crop_face(photograph, (left, top, side))
    soft, softer = (
        np.asarray(Image.fromarray(sharp).filter(ImageFilter.GaussianBlur(r))) for r in (radius, 2 * radius)
    )
    assert fine_detail(sharp) > fine_detail(soft) > fine_detail(softer)


def test_sharpness_hardly_depends_on_the_size_of_the_crop(photograph: Pixels) -> None:
    sizes = [fine_detail(crop_face(photograph, FACE, size)) for size in (112, 144, 160)]
    assert sizes == pytest.approx([sizes[0]] * len(sizes), rel=0.15)


def test_a_crop_without_any_contrast_has_no_quality() -> None:
    box = np.array([0, 0, 100, 100], np.float32)
    flat = np.full((112, 112, 3), 80, np.uint8)
    landmarks = np.array([[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]], np.float32)
    assert QualityFactors.measure(flat, box, landmarks, (200, 200), 1.0, turned(0, 0, 0), 1.0).quality == 0.0


@given(st.floats(-90, 90), st.floats(-90, 90), st.floats(-180, 180), st.floats(0, 1))
def test_turning_to_any_side_lowers_frontality_and_tilting_does_not(
    pitch: float, yaw: float, roll: float, less: float
) -> None:
    assert frontality(turned(pitch, yaw, roll)) <= frontality(turned(less * pitch, less * yaw, 0)) + 1e-6
    assert frontality(turned(0, 60, roll)) == pytest.approx(0.5, abs=1e-6)
    assert frontality(turned(0, 120, roll)) == 0.0


@given(st.floats(0, 1.5), st.floats(0, 1), st.sampled_from([-1, 1]), st.floats(-3, 3))
def test_the_further_the_nose_is_from_between_the_eyes_the_lower_is_frontality_at_any_tilt(
    aside: float, less: float, side: int, tilt: float
) -> None:
    turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    near, far = (
        frontality_of_landmarks((np.array([[0, 0], [10, 0], [5 + 10 * side * x, 6]]) @ turn).astype(np.float32))
        for x in (less * aside, aside)
    )
    assert 0 < far <= near + 1e-6
    assert near <= 1


@pytest.mark.parametrize(
    ("box", "share"),
    [((10, 10, 30, 50), 1), ((-10, 0, 10, 40), 0.5), ((90, 90, 110, 110), 0.25), ((200, 0, 220, 20), 0)],
)
def test_what_lies_outside_the_picture_takes_away_its_share(box: tuple[float, ...], share: float) -> None:
    assert share_inside(np.array(box, np.float32), (100, 100)) == pytest.approx(share)


async def test_blur_and_shrinking_lower_the_quality_step_by_step(
    trained_engine: EmbeddedEngine, photograph: Pixels
) -> None:
    sharp = Image.fromarray(photograph)
    blurred = [sharp.filter(ImageFilter.GaussianBlur(radius)) for radius in (2, 3, 4, 6)]
    shrunk = [sharp.resize((side, side), Image.Resampling.LANCZOS) for side in (320, 224, 160, 112)]
    best = await quality_of(trained_engine, sharp)
    assert best > 0.5
    for worse in (blurred, shrunk):
        qualities = [best] + [await quality_of(trained_engine, picture) for picture in worse]
        assert qualities == sorted(qualities, reverse=True)
        assert qualities[-1] < 0.3 * best


@pytest.mark.parametrize("side", [-1, 1])
async def test_turning_the_head_lowers_the_quality_step_by_step(trained_engine: EmbeddedEngine, side: int) -> None:
    steps = []
    for yaw in (0, 25, 50, 75):
        heads = [drawn_face(yaw=side * yaw, person=person) for person in range(4)]
        steps.append(np.mean([await quality_of(trained_engine, Image.fromarray(head)) for head in heads]))
    assert steps == sorted(steps, reverse=True)
    assert steps[-1] < 0.5 * steps[0]


@pytest.mark.parametrize("yaw", [-90, 90])
async def test_a_profile_has_low_quality_or_is_not_taken_for_a_face(trained_engine: EmbeddedEngine, yaw: int) -> None:
    for person in range(4):
        frontal, profile = (Image.fromarray(drawn_face(yaw=angle, person=person)) for angle in (0, yaw))
        assert await quality_of(trained_engine, profile) < 0.5 * await quality_of(trained_engine, frontal)


async def test_the_more_of_a_face_is_cut_off_the_lower_its_quality(
    trained_engine: EmbeddedEngine, photograph: Pixels
) -> None:
    (whole,) = await Extractor(trained_engine).extract(photograph)
    x0, _, x1, _ = whole.box
    edges = [round(float(x1 - share * (x1 - x0))) for share in (0.15, 0.3, 0.5)]
    for mirrored in (False, True):
        cut = [np.ascontiguousarray(photograph[:, :edge]) for edge in edges]
        cut = [np.ascontiguousarray(picture[:, ::-1]) for picture in cut] if mirrored else cut
        qualities = [whole.quality] + [await quality_of(trained_engine, Image.fromarray(picture)) for picture in cut]
        assert qualities == sorted(qualities, reverse=True)
        assert qualities[-1] < 0.7 * whole.quality


COVERS = {
    "sunglasses": (0.0, 0.22, 1.0, 0.46),
    "a mask over mouth and nose": (0.0, 0.5, 1.0, 1.0),
    "a hand over the left half": (0.0, 0.0, 0.5, 1.0),
    "a hand over the right half": (0.5, 0.0, 1.0, 1.0),
}
"""What is covered, as fractions of the detected box: left, upper, right, lower."""


@pytest.mark.parametrize("cover", COVERS)
@pytest.mark.parametrize("colour", [(15, 15, 20), (205, 160, 140), (120, 170, 200)])
async def test_covering_a_face_lowers_its_quality_or_it_is_refused(
    trained_engine: EmbeddedEngine, photograph: Pixels, cover: str, colour: tuple[int, int, int]
) -> None:
    (whole,) = await Extractor(trained_engine).extract(photograph)
    x0, y0, x1, y1 = whole.box.tolist()
    left, upper, right, lower = COVERS[cover]
    picture = Image.fromarray(photograph)
    region = (x0 + left * (x1 - x0), y0 + upper * (y1 - y0), x0 + right * (x1 - x0), y0 + lower * (y1 - y0))
    ImageDraw.Draw(picture).rectangle(region, fill=colour)
    assert await quality_of(trained_engine, picture) < 0.85 * whole.quality


def test_eyes_at_one_place_tell_of_no_frontal_face() -> None:
    assert frontality_of_landmarks(np.full((5, 2), 7.0, np.float32)) == 0
