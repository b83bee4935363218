"""What is done to any mesh, and what is refused before anything is."""

from dataclasses import replace

import numpy as np
import pytest

from semface.errors import Reason, SemfaceError
from semface.extraction.scans import mesh
from semface.extraction.scans.mesh import Scan, check_scan, joined, outward, part
from tests.extraction.scans.heads import ball, head


def refused(scan: Scan) -> SemfaceError:
    with pytest.raises(SemfaceError) as caught:
        check_scan(scan)
    return caught.value


def test_a_head_is_a_scan() -> None:
    check_scan(head())


def test_one_triangle_is_too_coarse() -> None:
    error = refused(Scan(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], np.int32)))
    assert error.reason is Reason.LOW_QUALITY
    assert "1 triangle" in error.message


def test_vertices_that_are_nan_are_counted_and_refused() -> None:
    vertices = head().vertices.copy()
    vertices[[3, 70]] = np.nan
    error = refused(replace(head(), vertices=vertices))
    assert error.reason is Reason.NOT_FINITE
    assert error.message.startswith("2 of the scan's 4,120 vertices")


def test_a_triangle_of_a_vertex_that_is_not_there_is_refused() -> None:
    triangles = head().triangles.copy()
    triangles[5, 1] = 4120
    assert refused(replace(head(), triangles=triangles)).reason is Reason.SCAN_UNDECODABLE


def test_too_many_vertices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mesh, "MAXIMUM_VERTICES", 4000)
    assert refused(head()).reason is Reason.SCAN_TOO_LARGE


def test_a_seam_is_closed_and_nothing_else_is_joined() -> None:
    scan = head()
    torn = Scan(
        scan.vertices[scan.triangles].reshape(-1, 3), np.arange(scan.triangles.size, dtype=np.int32).reshape(-1, 3)
    )
    closed = joined(torn)
    assert len(closed.vertices) == len(np.unique(scan.vertices[np.unique(scan.triangles)], axis=0))
    np.testing.assert_array_equal(closed.vertices[closed.triangles], scan.vertices[scan.triangles])


def test_a_coarser_mesh_lies_within_a_cube_of_the_fine_one() -> None:
    fine = head()
    coarse = joined(fine, 8.0)
    assert MINIMUM < len(coarse.vertices) < len(fine.vertices) / 2
    distances = np.linalg.norm(coarse.vertices[:, None] - fine.vertices, axis=2).min(axis=1)
    assert distances.max() < 8.0
    assert coarse.colours is not None
    assert len(coarse.colours) == len(coarse.vertices)


MINIMUM = 100


def test_a_part_keeps_the_triangles_between_what_is_kept() -> None:
    scan = head()
    kept = scan.vertices[:, 0] > 0
    half = part(scan, kept)
    assert len(half.vertices) == kept.sum()
    assert len(half.triangles) == kept[scan.triangles].all(axis=1).sum()
    assert (half.vertices[half.triangles][..., 0] > 0).all()


@pytest.mark.parametrize("scan", [head(), ball()])
def test_a_mesh_inside_out_is_turned(scan: Scan) -> None:
    inside_out = replace(scan, triangles=scan.triangles[:, ::-1])
    assert outward(scan) is scan
    corners = outward(inside_out).vertices[outward(inside_out).triangles]
    volume = np.einsum("tc,tc->", np.cross(corners[:, 0], corners[:, 1]), corners[:, 2])
    assert volume > 0
