"""`semface eval geometry`: what it compares, on heads made here and on the data sets; what it refuses."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from semface.descriptors import DESCRIPTOR_SIZE, GROUPS
from semface.errors import Reason, SemfaceError
from semface.evaluation.geometry import HeadComparison, colour_error
from semface.evaluation.landmark_teacher import TEACHER_FILE, LandmarkTeacher, teacher_folder
from semface.evaluation.pictures import FaceView
from semface.evaluation.synthetic_faces import SHOWN_EXPRESSIONS, FaceGenerator, IctModel, SyntheticFace
from semface.morphable.camera import rotation_matrix
from semface.morphable.model import MorphableModel
from semface.morphable.rendering import render
from tests.evaluation.test_command import figures, semface

RENDER_KEYS = ["landmark_nme", "shape_gain", "depth_error_mm", "faces", "skipped", "identity_ratio"]
PHOTOGRAPH_KEYS = ["landmark_nme_468", "photometric_error", "faces", "skipped"]


@pytest.fixture(scope="module")
def ict(datasets: Path) -> IctModel:
    return IctModel.load(datasets / "ict_face.npz")


@pytest.fixture(scope="module")
def teacher() -> Path:
    folders = (teacher_folder(), Path(__file__).resolve().parents[3] / "shared" / "teachers")
    path = next((folder / TEACHER_FILE for folder in folders if (folder / TEACHER_FILE).exists()), None)
    if path is None:
        pytest.skip("the landmark teacher is not built: make teachers, or SEMFACE_TEACHERS names its folder")
    return path


@pytest.fixture(scope="module")
def own_head() -> IctModel:
    """Our own model in the form of the other, so that its heads can be described without error."""
    model = MorphableModel.shipped()
    return IctModel(
        model.mean_shape.astype(np.float64),
        model.shape_basis,
        model.expression_basis,
        tuple(f"direction {number}" for number in range(len(model.expression_basis))),
        model.triangles,
        model.landmarks68,
    )


def test_a_head_described_rightly_has_no_error_and_the_mean_head_has(own_head: IctModel) -> None:
    model = MorphableModel.shipped()
    random = np.random.default_rng(2)
    descriptors = np.zeros(DESCRIPTOR_SIZE, np.float32)
    descriptors[GROUPS["shape"]] = random.normal(size=80)
    descriptors[GROUPS["expression"]] = random.normal(size=64)
    descriptors[GROUPS["rotation"]] = (0.2, -0.4, 0.1)
    neutral = model.vertices(descriptors[None, GROUPS["shape"]], np.zeros((1, 64), np.float32))[0]
    seen = model.vertices(descriptors[None, GROUPS["shape"]], descriptors[None, GROUPS["expression"]])[0]
    posed = 1.1 * seen @ rotation_matrix(descriptors[None, GROUPS["rotation"]])[0].T + [4.0, 0.0, -30.0]
    face = SyntheticFace(np.zeros((1, 1, 3), np.uint8), np.zeros((68, 2)), 0.9 * neutral + 5.0, posed)
    comparison = HeadComparison(own_head, model)
    own, mean = comparison.shape_errors(descriptors, face)
    assert own == pytest.approx(0.0, abs=1e-3)
    assert mean > 1.0
    assert comparison.depth_error(descriptors, face) == pytest.approx(0.0, abs=1e-3)
    # The rotation is judged too: alignment does not take it away.
    descriptors[GROUPS["rotation"]] = (0.2, 0.4, 0.1)
    assert comparison.depth_error(descriptors, face) > 5.0


def test_a_redrawn_face_has_no_colour_error_and_a_darker_one_as_much_as_it_is_darker() -> None:
    descriptors = np.zeros(DESCRIPTOR_SIZE, np.float32)
    crop = render(descriptors, 112)
    view = FaceView(crop, (0.0, 0.0, 112.0), np.zeros(4), None)
    exact = colour_error(MorphableModel.shipped(), descriptors, crop, view)
    assert exact is not None
    assert exact < 0.5
    darker = dataclasses.replace(view, crop=np.clip(crop.astype(int) - 20, 0, 255).astype(np.uint8))
    dark = colour_error(MorphableModel.shipped(), descriptors, crop, darker)
    assert dark == pytest.approx(20.0, abs=1.0)


def test_a_face_outside_the_photograph_has_no_colour_error() -> None:
    descriptors = np.zeros(DESCRIPTOR_SIZE, np.float32)
    view = FaceView(np.zeros((112, 112, 3), np.uint8), (500.0, 500.0, 112.0), np.zeros(4), None)
    assert colour_error(MorphableModel.shipped(), descriptors, np.zeros((64, 64, 3), np.uint8), view) is None


def test_renders_repeat_and_their_landmarks_lie_on_the_face(ict: IctModel) -> None:
    generator = FaceGenerator(ict, MorphableModel.shipped())
    first, second = list(generator.faces(1)), list(generator.faces(2))
    np.testing.assert_array_equal(first[0].picture, second[0].picture)
    assert np.abs(second[0].neutral - second[1].neutral).mean() > 0.5
    for face in second:
        height, width, _ = face.picture.shape
        assert (face.landmarks > 0).all()
        assert (face.landmarks < [width, height]).all()
    # Two eyes and a mouth are closed, so nothing of the background shows through a face.
    assert [len(loop) > 20 for loop in ict.openings] == [True] * 3


def test_a_person_shows_five_expressions_and_stays_the_same_person(ict: IctModel) -> None:
    generator = FaceGenerator(ict, MorphableModel.shipped())
    first, second = list(generator.people(2))
    assert len(first) == len(SHOWN_EXPRESSIONS) == 5
    for face in first:
        np.testing.assert_array_equal(face.neutral, first[0].neutral)
    assert np.abs(first[0].neutral - second[0].neutral).mean() > 0.5
    nose, chin = ict.landmarks68[[33, 8]]
    lengths = [np.linalg.norm(face.posed[nose] - face.posed[chin]) for face in first]
    # Surprise opens the mouth, so the chin is nowhere else as far from the nose.
    assert int(np.argmax(lengths)) == list(SHOWN_EXPRESSIONS).index("surprise")


def test_a_file_without_the_units_of_an_expression_is_told(ict: IctModel) -> None:
    nameless = dataclasses.replace(ict, expression_names=("",) * len(ict.expression))
    with pytest.raises(SemfaceError, match="mouthSmile") as refused:
        next(FaceGenerator(nameless, MorphableModel.shipped()).people(1))
    assert refused.value.reason is Reason.FIELD_INVALID


@pytest.mark.parametrize("content", [None, b"this is no model"])
def test_what_is_no_model_is_told_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "ict_face.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SemfaceError, match=r"ict_face\.npz") as refused:
        IctModel.load(path)
    assert refused.value.reason is Reason.FIELD_INVALID


def test_an_absent_teacher_is_told_with_what_to_do(pictures: Path, tiny_repository: Path, tmp_path: Path) -> None:
    done = semface(
        "geometry", "--images", pictures, "--models", tiny_repository, "--teacher", tmp_path / "face_landmark.onnx"
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "make teachers" in done.stderr
    assert "Traceback" not in done.stderr


def test_one_of_model_and_images_is_to_be_named(pictures: Path) -> None:
    for arguments in ((), ("--model", "ict_face.npz", "--images", pictures)):
        done = semface("geometry", *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert "--model" in done.stderr


@pytest.mark.slow
def test_the_teacher_marks_the_eyes_of_a_portrait(astronaut: Image.Image, teacher: Path) -> None:
    landmarks, presence = LandmarkTeacher(teacher).landmarks(
        np.asarray(astronaut), np.array([175.0, 65.0, 275.0, 195.0]), None
    )
    assert presence > 0
    # The eyes' outer corners are level within the portrait's slight tilt, and the mouth lies below them.
    assert 60 < landmarks[263, 0] - landmarks[33, 0] < 100
    assert landmarks[13, 1] > landmarks[[33, 263], 1].max() + 30


@pytest.mark.slow
def test_ten_renders_have_sane_figures(datasets: Path, trained_repository: Path) -> None:
    common = ("geometry", "--model", datasets / "ict_face.npz", "--models", trained_repository)
    result = figures(*common, "--count", 10)
    assert list(result) == RENDER_KEYS
    assert (result["faces"], result["skipped"]) == (10, 0)
    assert 0.005 < result["landmark_nme"] < 0.2
    assert -0.5 < result["shape_gain"] < 1
    assert 0.5 < result["depth_error_mm"] < 12
    assert 0.05 < result["identity_ratio"] < 1.2
    assert figures(*common, "--limit", 10) == result


@pytest.mark.slow
def test_ten_photographs_have_sane_figures(datasets: Path, trained_repository: Path, teacher: Path) -> None:
    result = figures(
        "geometry", "--images", datasets / "lfw_train.zip", "--models", trained_repository, "--limit", 10,
        "--teacher", teacher,
    )  # fmt: skip
    assert list(result) == PHOTOGRAPH_KEYS
    assert (result["faces"], result["skipped"]) == (10, 0)
    assert 0.005 < result["landmark_nme_468"] < 0.06
    assert 3 < result["photometric_error"] < 30


@pytest.mark.slow
def test_a_broken_picture_is_skipped_and_counted(pictures: Path, tiny_repository: Path, teacher: Path) -> None:
    result = figures("geometry", "--images", pictures, "--models", tiny_repository, "--teacher", teacher)
    assert (result["faces"], result["skipped"]) == (4, 1)
