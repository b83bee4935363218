"""Promises of the renders that the extractor learns from."""

import numpy as np
import pytest

pytest.importorskip("tqdm", reason="training needs the extra `training`")

from semface.evaluation.geometry import HeadComparison
from semface.evaluation.synthetic_faces import FaceGenerator, IctModel
from semface.morphable.camera import project
from semface.morphable.model import MorphableModel
from semface.morphable.similarity import Similarity, move
from training.datasets import REPOSITORY, root
from training.known_heads import HeadFits, KnownFaces, our_pose, random_pose, shown_people
from training.render_pictures import CANVAS, Painter, photographed
from training.renders import RenderBooth, shape_gain_bound

MODEL = MorphableModel.shipped()
CAMERA = (20.0, 20.0, 100.0)


@pytest.fixture(scope="module")
def ict() -> IctModel:
    path = root() / "ict_face.npz"
    if not path.exists():
        pytest.skip("the shared data sets are not here; SEMFACE_DATASETS names their folder")
    return IctModel.load(path)


@pytest.fixture(scope="module")
def faces(ict: IctModel) -> KnownFaces:
    return KnownFaces(ict, MODEL)


def test_our_head_of_the_told_coefficients_and_pose_covers_the_known_head_in_the_picture(
    ict: IctModel, faces: KnownFaces
) -> None:
    comparison = HeadComparison(ict, MODEL)
    random = np.random.default_rng(3)
    square = (35.0, 28.0, 80.0)
    errors, unturned = [], []
    for number in range(6):
        person = faces.person(number)
        offsets, expression = faces.expression(person, random)
        rotation, translation = random_pose(random)
        seen, _ = project(comparison.places(person.neutral + offsets)[None], rotation[None], translation[None])
        wanted = (seen[0] * CAMERA[2] + CAMERA[:2] - square[:2]) / square[2]
        theta, shift = our_pose(rotation, translation, person.placed, CAMERA, square)
        head = MODEL.vertices(person.shape[None], expression[None])[0, MODEL.face_region]
        for angles, kept in ((theta, errors), (np.zeros(3), unturned)):
            points, _ = project(head[None], angles[None], shift[None])
            kept.append(np.linalg.norm(points[0] - wanted, axis=1).mean())
    assert np.mean(errors) < 0.015
    assert np.mean(unturned) > 2 * np.mean(errors)


def test_the_pose_of_a_head_of_ours_is_told_exactly() -> None:
    random = np.random.default_rng(4)
    head = MODEL.mean_shape[::40].astype(float)
    rotation, translation = random.uniform(-0.5, 0.5, 3), np.array([15.0, -8.0, 0.0])
    larger, square = 1.15, (10.0, 5.0, 120.0)
    placed = Similarity(larger, np.eye(3), np.zeros(3))
    theta, shift = our_pose(rotation, translation, placed, CAMERA, CAMERA)
    np.testing.assert_allclose(theta, rotation, atol=1e-9)
    seen, _ = project(move(head, placed)[None], rotation[None], translation[None])
    told, _ = project(head[None], theta[None], shift[None])
    np.testing.assert_allclose(told, seen, atol=1e-9)
    # In another square the perspective differs a little, the places do not.
    _, elsewhere = our_pose(rotation, translation, placed, CAMERA, square)
    told, _ = project(head[None], theta[None], elsewhere[None])
    pixels = told[0] * square[2] + square[:2]
    np.testing.assert_allclose(pixels, seen[0] * CAMERA[2] + CAMERA[:2], atol=2.0)


def test_a_smile_moves_expression_and_not_shape(ict: IctModel, faces: KnownFaces) -> None:
    person = faces.person(1)
    smile = sum(ict.expression[ict.expression_names.index(f"mouthSmile_{side}")] for side in "LR")
    fits = HeadFits(ict, MODEL)
    delta = fits.expression(smile, person.placed)
    assert np.linalg.norm(delta) > 1.0
    np.testing.assert_allclose(fits.expression(np.zeros_like(smile), person.placed), 0.0, atol=1e-12)
    again = faces.person(1)
    np.testing.assert_array_equal(again.shape, person.shape)


def test_people_appear_in_two_to_four_pictures() -> None:
    counts = np.bincount(list(shown_people(600)))
    assert set(counts[:-1].tolist()) == {2, 3, 4}
    assert counts.sum() == 600


def test_no_head_is_one_of_the_evaluation(ict: IctModel, faces: KnownFaces) -> None:
    judged = [face.neutral - ict.mean for face in FaceGenerator(ict, MODEL).faces(3)]
    ours = [faces.person(number).neutral - faces.person(number).neutral.mean(axis=0) for number in range(3)]
    mean = np.mean(ours, axis=0)
    shared = [abs(np.corrcoef(a.ravel(), (b - mean).ravel())[0, 1]) for a in judged for b in ours]
    assert max(shared) < 0.9


def test_the_nearest_coefficients_are_nearer_than_the_mean_head(ict: IctModel) -> None:
    assert 0.1 < shape_gain_bound(ict, MODEL, 5) < 1.0


def test_a_picture_is_drawn_and_its_marks_lie_on_it(ict: IctModel, faces: KnownFaces) -> None:
    painter, random = Painter(ict, MODEL), np.random.default_rng(5)
    person = faces.person(0)
    canvas, marks = painter.draw(person.neutral, np.zeros(3), np.zeros(3), painter.look(random), random)
    assert canvas.shape == (CANVAS, CANVAS, 3)
    assert ((marks > 0) & (marks < CANVAS)).all()
    assert photographed(canvas, 0.5, random).shape == (CANVAS // 2, CANVAS // 2, 3)


@pytest.mark.slow
def test_renders_repeat_and_nearly_all_are_found(ict: IctModel) -> None:
    if not (REPOSITORY / "model_repository" / "face_detection_proposal" / "1" / "model.onnx").exists():
        pytest.skip("the face detector is not built: make models")
    booth = RenderBooth(ict, MODEL)
    renders = [booth.render(number, number // 2) for number in range(20)]
    np.testing.assert_array_equal(booth.render(3, 1).crop, renders[3].crop)
    np.testing.assert_array_equal(renders[2].shape, renders[3].shape)
    assert np.mean([render.detected for render in renders]) > 0.8
    assert all((np.abs(render.landmarks68 - 0.5) < 0.75).all() for render in renders)
