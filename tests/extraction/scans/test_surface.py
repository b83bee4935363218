"""Normals and curvature on surfaces whose own are known."""

import numpy as np
import pytest

from semface.extraction.scans.surface import principal_curvatures, shape_index, vertex_normals
from tests.extraction.scans import surfaces


def test_a_plane_has_one_normal_no_curvature_and_shape_index_one_half() -> None:
    vertices, triangles, inside, _, _ = surfaces.mesh(surfaces.plane)
    normals = vertex_normals(vertices, triangles)
    np.testing.assert_allclose(normals, np.tile(np.array([1, 1, 3]) / np.sqrt(11), (len(vertices), 1)), atol=1e-5)
    first, second, _ = principal_curvatures(vertices, triangles, normals)
    np.testing.assert_allclose([first[inside], second[inside]], 0.0, atol=1e-6)
    np.testing.assert_array_equal(shape_index(vertices, triangles, normals)[inside], 0.5)


def test_a_sphere_bends_alike_in_all_directions_and_its_side_tells_one_or_zero() -> None:
    vertices, triangles, inside, _, _ = surfaces.mesh(surfaces.sphere)
    normals = vertex_normals(vertices, triangles)
    np.testing.assert_allclose(normals[inside], vertices[inside] / 50, atol=0.01)
    first, second, _ = principal_curvatures(vertices, triangles, normals)
    np.testing.assert_allclose([first[inside], second[inside]], -1 / 50, rtol=0.01)
    assert (shape_index(vertices, triangles, normals)[inside] > 0.995).all()
    hollow = triangles[:, ::-1]
    assert (shape_index(vertices, hollow, vertex_normals(vertices, hollow))[inside] < 0.005).all()


def test_a_cylinder_is_a_ridge_from_outside_and_a_valley_from_inside() -> None:
    vertices, triangles, inside, u, _ = surfaces.mesh(surfaces.cylinder)
    normals = vertex_normals(vertices, triangles)
    np.testing.assert_allclose(normals[inside], np.stack([np.sin(u), 0 * u, np.cos(u)], axis=1)[inside], atol=0.01)
    first, second, _ = principal_curvatures(vertices, triangles, normals)
    np.testing.assert_allclose(first[inside], 0.0, atol=1e-4)
    np.testing.assert_allclose(second[inside], -1 / 40, rtol=0.01)
    np.testing.assert_allclose(shape_index(vertices, triangles, normals)[inside], 0.75, atol=0.005)
    valley = triangles[:, ::-1]
    np.testing.assert_allclose(
        shape_index(vertices, valley, vertex_normals(vertices, valley))[inside], 0.25, atol=0.005
    )


def test_a_saddle_bends_both_ways() -> None:
    vertices, triangles, inside, _, _ = surfaces.mesh(surfaces.saddle)
    normals = vertex_normals(vertices, triangles)
    x, y, _ = vertices.T
    slope = 1 + (x * x + y * y) / 2500
    gaussian, mean = -1 / 2500 / slope**2, (y * y - x * x) / 2500 / 50 / slope**1.5 / 2
    root = np.sqrt(mean**2 - gaussian)
    first, second, _ = principal_curvatures(vertices, triangles, normals)
    np.testing.assert_allclose(first[inside], (mean + root)[inside], rtol=0.02, atol=1e-5)
    np.testing.assert_allclose(second[inside], (mean - root)[inside], rtol=0.02, atol=1e-5)
    middle = inside & (x * x + y * y < 100)
    np.testing.assert_allclose(shape_index(vertices, triangles, normals)[middle], 0.5, atol=0.02)


def test_a_torus_bends_as_its_two_radii_say() -> None:
    vertices, triangles, inside, _, v = surfaces.mesh(surfaces.torus)
    normals = vertex_normals(vertices, triangles)
    first, second, _ = principal_curvatures(vertices, triangles, normals)
    np.testing.assert_allclose(second[inside], -1 / 30, rtol=0.01)
    along = -np.cos(v) / (80 + 30 * np.cos(v))
    np.testing.assert_allclose(first[inside], along[inside], rtol=0.02)
    wanted = 0.5 - np.arctan((along - 1 / 30) / (along + 1 / 30)) / np.pi
    np.testing.assert_allclose(shape_index(vertices, triangles, normals)[inside], wanted[inside], atol=0.01)


@pytest.mark.parametrize("surface", [surfaces.sphere, surfaces.saddle, surfaces.torus])
def test_neither_the_unit_nor_the_pose_changes_the_shape_index(surface) -> None:
    vertices, triangles, inside, _, _ = surfaces.mesh(surface)
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    moved = 0.001 * vertices @ (turn * np.sign(np.linalg.det(turn))).T + 5
    before = shape_index(vertices, triangles, vertex_normals(vertices, triangles))
    after = shape_index(moved, triangles, vertex_normals(moved, triangles))
    np.testing.assert_allclose(after[inside], before[inside], atol=0.02)


def test_noise_leaves_the_shape_of_a_nose_sized_ball_to_be_seen() -> None:
    vertices, triangles, inside, _, _ = surfaces.mesh(
        lambda u, v: tuple(0.4 * axis for axis in surfaces.sphere(u, v)), 16
    )
    noisy = vertices + np.random.default_rng(4).normal(0.0, 0.1, vertices.shape)
    index = shape_index(noisy, triangles, vertex_normals(noisy, triangles))
    assert np.median(index[inside]) > 0.85


def test_vertices_of_no_triangle_and_flat_triangles_harm_nothing() -> None:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [2, 0, 0], [9, 9, 9]], float)
    triangles = np.array([[0, 1, 2], [0, 1, 3]], np.int32)
    normals = vertex_normals(vertices, triangles)
    assert np.isfinite(normals).all()
    assert np.isfinite(shape_index(vertices, triangles, normals)).all()
