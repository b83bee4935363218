"""A licence holder's basis in our form: the files here have the real ones' keys, units and order, not their content."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="training needs the extra `training`")
pytest.importorskip("tqdm")

from scipy.io import savemat

from semface.descriptors import DESCRIPTOR_SIZE
from semface.errors import SemfaceError
from semface.morphable import MorphableModel, render
from training.licensed_basis import read_basis, to_morphable_model
from training.morphable_model import save

RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def head() -> MorphableModel:
    """Our own head, which the files of these tests hold in the holder's form."""
    return MorphableModel.shipped()


@pytest.fixture(scope="module")
def front_file(head: MorphableModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`BFM_model_front.mat`: decimetres, indices from 1, columns of one standard deviation."""
    path = tmp_path_factory.mktemp("front") / "BFM_model_front.mat"
    columns = {"idBase": head.shape_basis / 100, "exBase": head.expression_basis / 100, "texBase": head.texture_basis}
    savemat(
        path,
        {
            "meanshape": (head.mean_shape / 100).reshape(1, -1),
            "meantex": head.mean_albedo.reshape(1, -1),
            "tri": head.triangles + 1,
            "keypoints": head.landmarks68[None] + 1,
        }
        | {name: basis.reshape(len(basis), -1).T for name, basis in columns.items()},
    )
    return path


@pytest.fixture(scope="module")
def model(front_file: Path) -> MorphableModel:
    return to_morphable_model(read_basis(front_file))


def test_the_same_numbers_make_the_same_head(head: MorphableModel, model: MorphableModel) -> None:
    shape, expression, texture = (RANDOM.normal(size=(3, size)) for size in (80, 64, 80))
    centre = head.mean_shape.mean(axis=0)
    ours = head.vertices(shape, expression) - centre
    np.testing.assert_allclose(model.vertices(shape, expression), ours, atol=0.02)
    np.testing.assert_allclose(model.albedo(texture), head.albedo(texture), atol=0.1)


def test_correspondences_are_found_again(head: MorphableModel, model: MorphableModel) -> None:
    np.testing.assert_array_equal(model.landmarks68, head.landmarks68)
    theirs, ours = (m.landmarks(m.mean_shape[None])[0] for m in (model, head))
    apart = np.linalg.norm(theirs - (ours - head.mean_shape.mean(axis=0)), axis=1)
    assert apart.max() < 0.5
    # A mirror partner is the vertex at the mirrored place, whichever of two at one place it is.
    mirrored = model.mean_shape[model.mirror] * [-1.0, 1.0, 1.0]
    assert np.linalg.norm(mirrored - model.mean_shape, axis=1).max() < 0.5
    assert (model.face_region == head.face_region).mean() > 0.98


def test_triangles_wound_the_other_way_are_turned(front_file: Path, model: MorphableModel) -> None:
    basis = read_basis(front_file)
    basis.triangles[:] = basis.triangles[:, ::-1]
    normals = to_morphable_model(basis).normals(model.mean_shape[None])
    np.testing.assert_allclose(normals, model.normals(model.mean_shape[None]), atol=1e-5)


def test_what_is_written_can_be_loaded_and_drawn(model: MorphableModel, tmp_path: Path) -> None:
    path = tmp_path / "licensed.npz"
    save(model, path)
    picture = render(np.zeros(DESCRIPTOR_SIZE), 64, model=MorphableModel.load(path))
    assert picture.std() > 10


def test_the_original_files_give_the_same_basis(head: MorphableModel, front_file: Path, tmp_path: Path) -> None:
    # Expressions leave out the original's first three vertices and every file is in micrometres.
    front = RANDOM.permutation(len(head.mean_shape))
    place = front.argsort()
    wide = [
        np.concatenate([np.zeros((len(b), 3, 3)), b[:, place]], axis=1).reshape(len(b), -1)
        for b in (head.mean_shape[None] * 1e3, head.shape_basis * 1e3, head.mean_albedo[None], head.texture_basis)
    ]
    spread = {name: RANDOM.uniform(0.5, 2.0, (80, 1)) for name in ("shape", "tex")}
    savemat(
        tmp_path / "01_MorphableModel.mat",
        {"shapeMU": wide[0].T, "texMU": wide[2].T, "shapeEV": spread["shape"], "texEV": spread["tex"]}
        | {"shapePC": (wide[1] / spread["shape"]).T, "texPC": (wide[3] / spread["tex"]).T},
    )
    deviations = RANDOM.uniform(0.5, 2.0, (64, 1))
    expression = head.expression_basis[:, place].reshape(64, -1) * 1e3 / deviations
    with (tmp_path / "Exp_Pca.bin").open("wb") as file:
        np.array([64], "<i4").tofile(file)
        np.concatenate([np.full((1, expression.shape[1]), 7.0), expression]).astype("<f4").tofile(file)
    np.savetxt(tmp_path / "std_exp.txt", deviations.T)
    savemat(tmp_path / "BFM_exp_idx.mat", {"trimIndex": np.arange(len(front))[:, None] + 3 + 1})
    savemat(tmp_path / "BFM_front_idx.mat", {"idx": front[:, None] + 1})
    savemat(tmp_path / "facemodel_info.mat", {"tri": head.triangles + 1, "keypoints": head.landmarks68[None] + 1})
    ours, theirs = read_basis(tmp_path), read_basis(front_file)
    for name in vars(theirs):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=0.02)


def test_files_of_another_form_are_told_in_one_line(front_file: Path, tmp_path: Path) -> None:
    damaged, empty = tmp_path / "damaged.mat", tmp_path / "empty.mat"
    damaged.write_bytes(front_file.read_bytes()[:1000])
    savemat(empty, {"meanshape": np.zeros((1, 3))})
    absent = tmp_path / "none.mat"
    for path, words in ((damaged, "cannot be read"), (empty, "lacks"), (absent, "no file"), (tmp_path, "no file")):
        with pytest.raises(SemfaceError, match=words) as refused:
            read_basis(path)
        assert "\n" not in refused.value.message


def test_a_basis_of_another_size_is_refused(front_file: Path) -> None:
    basis = read_basis(front_file)
    fewer = type(basis)(**vars(basis) | {"shape": basis.shape[:40]})
    with pytest.raises(SemfaceError, match="40 shape directions"):
        to_morphable_model(fewer)
