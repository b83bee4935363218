"""Files of scans in every format that is read, and files that are not."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import trimesh
from PIL import Image

from semface.errors import Reason, SemfaceError
from semface.extraction.scans import reading
from semface.extraction.scans.mesh import joined
from semface.extraction.scans.reading import read_scan, read_scan_file
from tests.extraction.scans.heads import head


def exported(kind: str, *, coloured: bool = True) -> bytes:
    scan = head()
    colours = (
        None if not coloured else np.column_stack([scan.colours, np.full(len(scan.vertices), 255)]).astype(np.uint8)
    )
    mesh = trimesh.Trimesh(scan.vertices, scan.triangles, vertex_colors=colours, process=False)
    data = mesh.export(file_type=kind)
    return data.encode() if isinstance(data, str) else data


def refused(data: bytes) -> Reason:
    with pytest.raises(SemfaceError) as caught:
        read_scan(data)
    assert caught.value.field == "scan"
    return caught.value.reason


@pytest.mark.parametrize("kind", ["obj", "ply", "glb"])
def test_a_scan_is_read_as_it_was_written(kind: str) -> None:
    scan = read_scan(exported(kind))
    np.testing.assert_allclose(scan.vertices[scan.triangles], head().vertices[head().triangles], atol=1e-3)
    assert scan.colours is not None
    assert scan.colours.max() > 100


@pytest.mark.parametrize("kind", ["obj", "ply", "glb"])
def test_a_scan_without_colours_has_none(kind: str) -> None:
    assert read_scan(exported(kind, coloured=False)).colours is None


def test_colours_of_ply_stay_and_those_of_gltf_are_linear_light() -> None:
    plain, linear = read_scan(exported("ply")).colours, read_scan(exported("glb")).colours
    assert plain is not None
    assert linear is not None
    np.testing.assert_allclose(plain, head().colours, atol=1.0)
    middling = (plain > 60) & (plain < 200)
    assert (linear[middling] > plain[middling]).all()


@pytest.fixture
def textured(tmp_path: Path) -> Path:
    """An OBJ file with material and picture beside it: red on the left of the texture, blue on the right."""
    scan = head()
    low, extent = scan.vertices.min(axis=0), np.ptp(scan.vertices, axis=0)
    uv = ((scan.vertices - low) / extent)[:, :2]
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, :32, 0], picture[:, 32:, 2] = 255, 255
    visual = trimesh.visual.TextureVisuals(uv=uv, image=Image.fromarray(picture))
    trimesh.Trimesh(scan.vertices, scan.triangles, visual=visual, process=False).export(tmp_path / "scan.obj")
    return tmp_path / "scan.obj"


def test_a_texture_beside_the_file_colours_its_vertices(textured: Path) -> None:
    scan = read_scan_file(textured)
    assert scan.colours is not None
    # At its very edge a texture goes on with the other side.
    within = np.abs(scan.vertices[:, 0]) < 80
    left, right = within & (scan.vertices[:, 0] < -10), within & (scan.vertices[:, 0] > 10)
    np.testing.assert_allclose(scan.colours[left], [[255, 0, 0]] * left.sum(), atol=1)
    np.testing.assert_allclose(scan.colours[right], [[0, 0, 255]] * right.sum(), atol=1)


def test_the_bytes_alone_open_nothing_else(textured: Path) -> None:
    assert read_scan(textured.read_bytes()).colours is None


def test_a_material_cannot_reach_out_of_the_folder(textured: Path, tmp_path: Path) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    for file in tmp_path.glob("*.mtl"):
        (folder / file.name).write_text(file.read_text().replace("map_Kd ", "map_Kd ../"))
    (folder / "scan.obj").write_bytes(textured.read_bytes())
    assert read_scan_file(folder / "scan.obj").colours is None


def test_a_file_cut_at_its_texture_seams_is_whole_again(textured: Path) -> None:
    assert len(joined(read_scan_file(textured)).triangles) >= len(head().triangles) - 10


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"a photograph, perhaps",
        b"\xff\xd8\xff\xe0" + bytes(200),
        b"glTF" + bytes(40),
        b"v 0 0 0\nv 1 0 0\nv 0 1 0\n",
        b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n",
        b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nend_header\n1\n",
    ],
)
def test_what_is_no_mesh_is_refused(data: bytes) -> None:
    assert refused(data) is Reason.SCAN_UNDECODABLE


@pytest.mark.parametrize("kind", ["ply", "glb"])
def test_a_file_that_ends_too_soon_is_refused(kind: str) -> None:
    data = exported(kind)
    assert refused(data[: len(data) // 2]) is Reason.SCAN_UNDECODABLE


def test_sizes_are_looked_at_before_memory_is_taken() -> None:
    header = b"ply\nformat binary_little_endian 1.0\nelement vertex 4000000000\nproperty float x\nend_header\n"
    assert refused(header) is Reason.SCAN_TOO_LARGE
    tree = {"asset": {"version": "2.0"}, "accessors": [{"count": 10**12, "componentType": 5126, "type": "VEC3"}]}
    text = json.dumps(tree).encode()
    glb = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text), len(text), b"JSON") + text
    assert refused(glb) is Reason.SCAN_TOO_LARGE
    assert refused(text) is Reason.SCAN_TOO_LARGE


def test_one_mesh_that_stands_in_a_scene_many_times_counts_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    scan = head()
    mesh = trimesh.Trimesh(scan.vertices, scan.triangles, process=False)
    scene = trimesh.Scene()
    for number in range(40):
        scene.add_geometry(mesh, node_name=f"copy {number}", geom_name="head")
    data = scene.export(file_type="glb")
    assert len(data) < 1 << 19
    monkeypatch.setattr(reading, "MAXIMUM_VERTICES", 100_000)
    assert refused(data) is Reason.SCAN_TOO_LARGE


def test_a_file_of_too_many_bytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAXIMUM_BYTES", 1000)
    assert refused(exported("ply")) is Reason.SCAN_TOO_LARGE


def test_an_immense_texture_is_refused_before_it_is_decoded(textured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAXIMUM_TEXTURE_PIXELS", 1000)
    with pytest.raises(SemfaceError) as caught:
        read_scan_file(textured)
    assert caught.value.reason is Reason.SCAN_TOO_LARGE


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SemfaceError) as caught:
        read_scan_file(tmp_path / "none.obj")
    assert caught.value.reason is Reason.FIELD_INVALID
