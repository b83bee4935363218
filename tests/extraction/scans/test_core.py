"""From a scan to its attribute images, with the networks that serve."""

import time
from dataclasses import replace

import numpy as np
import pytest

from semface.errors import Reason, SemfaceError
from semface.extraction.core import Extractor
from semface.extraction.scans.attribute_images import CHANNELS, AttributeImages
from semface.extraction.scans.core import ScanReader
from semface.extraction.scans.mesh import Scan
from semface.inference.embedded import EmbeddedEngine
from tests.extraction.scans.heads import ball, head, turned

DEPTH, SHAPE_INDEX, RED = CHANNELS.index("depth"), CHANNELS.index("shape_index"), CHANNELS.index("texture_red")


@pytest.fixture(scope="module")
def reader(trained_engine: EmbeddedEngine) -> ScanReader:
    return ScanReader(Extractor(trained_engine))


def surface(found: AttributeImages) -> np.ndarray:
    return found.images[:3].any(axis=0)


async def test_a_head_gives_eight_images_of_its_face(reader: ScanReader) -> None:
    found = await reader.attribute_images(head())
    assert found.images.shape == (8, 112, 112)
    assert found.images.dtype == np.float32
    seen = surface(found)
    assert found.covered > 0.95
    np.testing.assert_allclose(np.linalg.norm(found.images[:3][:, seen], axis=0), 1.0, atol=0.2)
    assert (found.images[2][seen] > -0.2).all()
    peak = np.unravel_index(found.images[DEPTH].argmax(), (112, 112))
    assert abs(peak[1] - 55.5) < 3
    assert found.images[DEPTH].max() == pytest.approx(1.0, abs=0.06)
    assert (found.images[:, ~seen] == 0).all()
    assert ((found.images[SHAPE_INDEX] >= 0) & (found.images[SHAPE_INDEX] <= 1)).all()
    assert found.textured
    assert found.images[RED][seen].mean() > found.images[RED + 2][seen].mean()


@pytest.mark.parametrize(("pitch", "yaw", "roll"), [(12, 0, 0), (0, -15, 0), (-8, 10, 15)])
async def test_a_turned_head_gives_nearly_the_same_images(reader: ScanReader, pitch: int, yaw: int, roll: int) -> None:
    straight, aside = (
        await reader.attribute_images(head()),
        await reader.attribute_images(turned(head(), pitch, yaw, roll)),
    )
    both = surface(straight) & surface(aside)
    assert both.sum() > 0.9 * surface(straight).sum()
    across = np.abs(straight.images[:3] - aside.images[:3])[:, both]
    assert np.median(across) < 0.08


@pytest.mark.parametrize("unit", [0.001, 0.1, 25.4])
async def test_any_unit_and_place_will_do(reader: ScanReader, unit: float) -> None:
    scan = head()
    moved = replace(scan, vertices=(scan.vertices * unit + unit * np.float32([500, -300, 800])).astype(np.float32))
    straight, found = await reader.attribute_images(scan), await reader.attribute_images(moved)
    assert np.abs(straight.images[DEPTH] - found.images[DEPTH]).mean() < 0.02


@pytest.mark.parametrize("axes", [[[1, 0, 0], [0, 0, -1], [0, 1, 0]], [[1, 0, 0], [0, -1, 0], [0, 0, -1]]])
async def test_a_scan_with_z_up_or_a_cameras_axes_is_found(reader: ScanReader, axes: list[list[int]]) -> None:
    scan = head()
    moved = replace(scan, vertices=scan.vertices @ np.array(axes, np.float32).T)
    straight, found = await reader.attribute_images(scan), await reader.attribute_images(moved)
    assert np.abs(straight.images[DEPTH] - found.images[DEPTH]).mean() < 0.02


async def test_without_texture_the_face_is_found_and_its_images_of_texture_are_black(reader: ScanReader) -> None:
    found = await reader.attribute_images(replace(head(), colours=None))
    assert not found.textured
    assert (found.images[RED:] == 0).all()
    assert found.images[DEPTH].any()


async def test_a_mesh_inside_out_is_read_all_the_same(reader: ScanReader) -> None:
    found = await reader.attribute_images(replace(head(), triangles=head().triangles[:, [0, 2, 1]]))
    assert found.covered > 0.95


async def test_holes_stay_holes(reader: ScanReader) -> None:
    scan = head()
    away = np.linalg.norm(scan.vertices - scan.vertices[scan.vertices[:, 2].argmax()] - [35, -20, -25], axis=1) < 14
    found = await reader.attribute_images(replace(scan, triangles=scan.triangles[~away[scan.triangles].any(axis=1)]))
    assert 0.6 < found.covered < 0.98


async def test_half_a_face_is_refused_with_what_is_missing(reader: ScanReader) -> None:
    scan = head()
    kept = (scan.vertices[:, 1] > -14) & (scan.vertices[:, 1] < 60)
    with pytest.raises(SemfaceError) as caught:
        await reader.attribute_images(replace(scan, triangles=scan.triangles[kept[scan.triangles].all(axis=1)]))
    assert caught.value.reason in (Reason.LOW_QUALITY, Reason.NO_FACE)


async def test_a_scan_of_no_face_is_told_so(reader: ScanReader) -> None:
    with pytest.raises(SemfaceError) as caught:
        await reader.attribute_images(ball())
    assert caught.value.reason is Reason.NO_FACE


async def test_large_triangles_in_many_layers_are_no_face(reader: ScanReader) -> None:
    corners = np.random.default_rng(0).uniform(-100, 100, (1500, 3)).astype(np.float32)
    soup = Scan(corners, np.arange(1500, dtype=np.int32).reshape(-1, 3))
    with pytest.raises(SemfaceError) as caught:
        await reader.attribute_images(soup)
    assert caught.value.reason is Reason.NO_FACE


def finer(scan: Scan, times: int) -> Scan:
    """``scan`` with each triangle cut into four, ``times`` over, without joining what they share."""
    for _ in range(times):
        a, b, c = (scan.vertices[scan.triangles[:, corner]] for corner in range(3))
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        corners = np.stack([a, ab, ca, ab, b, bc, ca, bc, c, ab, bc, ca], axis=1).reshape(-1, 3)
        scan = Scan(corners, np.arange(len(corners), dtype=np.int32).reshape(-1, 3))
    return scan


@pytest.mark.slow
async def test_a_million_vertices_take_a_bounded_time(reader: ScanReader) -> None:
    dense = finer(head(), 3)
    assert len(dense.vertices) > 1_000_000
    straight = await reader.attribute_images(replace(head(), colours=None))
    begin = time.process_time()
    found = await reader.attribute_images(dense)
    assert time.process_time() - begin < 10
    assert np.abs(straight.images[DEPTH] - found.images[DEPTH]).mean() < 0.02
