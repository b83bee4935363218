"""The arithmetic of geometry on points whose answers are known."""

import numpy as np
import pytest

from semface.evaluation.geometry_measures import carry, identity_ratio, nearest_on_surface, normalised_mean_error
from semface.morphable.camera import rotation_matrix
from semface.morphable.similarity import move, similarity

POINTS = np.random.default_rng(5).normal(size=(40, 3))
TURN = rotation_matrix(np.array([[0.3, -0.7, 0.2]]))[0]


def test_a_similarity_is_found_exactly() -> None:
    moved = 2.5 * POINTS @ TURN.T + [3.0, -1.0, 7.0]
    found = similarity(POINTS, moved)
    assert found.scale == pytest.approx(2.5)
    np.testing.assert_allclose(found.rotation, TURN, atol=1e-12)
    np.testing.assert_allclose(found.shift, [3.0, -1.0, 7.0], atol=1e-12)
    np.testing.assert_allclose(move(POINTS, found), moved, atol=1e-12)


def test_no_other_similarity_is_nearer() -> None:
    noisy = 0.8 * POINTS @ TURN.T + np.random.default_rng(6).normal(0.0, 0.2, POINTS.shape)
    found = similarity(POINTS, noisy)
    best = np.square(move(POINTS, found) - noisy).sum()
    for step in np.random.default_rng(7).normal(0.0, 0.01, (20, 7)):
        turn = rotation_matrix(step[None, :3])[0]
        other = (found.scale + step[3]) * POINTS @ (turn @ found.rotation).T + found.shift + step[4:]
        assert np.square(other - noisy).sum() > best


def test_what_is_carried_goes_exactly_where_its_landmarks_go() -> None:
    bent = POINTS + np.random.default_rng(8).normal(0.0, 0.3, POINTS.shape)
    np.testing.assert_allclose(carry(POINTS, POINTS, bent), bent, atol=1e-9)


def test_a_move_of_all_landmarks_alike_carries_every_point_alike() -> None:
    others = np.random.default_rng(9).normal(size=(10, 3))
    turned = 1.7 * POINTS @ TURN.T + [1.0, 2.0, 3.0]
    np.testing.assert_allclose(carry(others, POINTS, turned), 1.7 * others @ TURN.T + [1.0, 2.0, 3.0], atol=1e-9)


def test_between_landmarks_points_are_carried_smoothly() -> None:
    bent = POINTS + 0.2 * np.sin(POINTS)
    others = 0.5 * POINTS
    near = carry(others + 1e-4, POINTS, bent)
    np.testing.assert_allclose(near, carry(others, POINTS, bent) + 1e-4, atol=1e-3)


def test_a_mirror_image_is_not_taken_for_the_face() -> None:
    found = similarity(POINTS, POINTS * [-1.0, 1.0, 1.0])
    assert np.linalg.det(found.rotation) == pytest.approx(1.0)


def test_without_rotation_a_turned_head_stays_wrong() -> None:
    np.testing.assert_array_equal(similarity(POINTS, POINTS @ TURN.T, rotate=False).rotation, np.eye(3))
    shifted = similarity(POINTS, 3.0 * POINTS + 1.0, rotate=False)
    assert shifted.scale == pytest.approx(3.0)
    np.testing.assert_allclose(shifted.shift, np.ones(3), atol=1e-12)


def test_the_error_is_in_distances_of_the_outer_eye_corners() -> None:
    truth = np.array([[0.0, 0.0], [60.0, 80.0], [10.0, 10.0], [20.0, 5.0]])
    points = truth + np.array([[3.0, 4.0], [0.0, 0.0], [0.0, 5.0], [-10.0, 0.0]])
    # Distances 5, 0, 5 and 10 over the corners' 100.
    assert normalised_mean_error(points, truth, (0, 1)) == pytest.approx(0.05)


def test_each_point_finds_its_place_on_the_surface() -> None:
    grid = np.arange(6.0)
    vertices = np.array([(x, y, 0.0) for y in grid for x in grid])
    corner = np.array([y * 6 + x for y in range(5) for x in range(5)])
    lower, upper = np.stack([corner, corner + 1, corner + 6], 1), np.stack([corner + 1, corner + 7, corner + 6], 1)
    triangles = np.concatenate([lower, upper]).astype(np.int32)
    points = np.array([[1.2, 2.3, 4.0], [4.9, 4.6, -1.0], [3.0, 3.0, 0.0], [2.0, -2.0, 1.0]])
    corners, weights = nearest_on_surface(points, vertices, triangles)
    places = (vertices[corners] * weights[..., None]).sum(axis=1)
    # The last point lies beyond the border, so it falls on it.
    np.testing.assert_allclose(places, [[1.2, 2.3, 0], [4.9, 4.6, 0], [3, 3, 0], [2, 0, 0]], atol=1e-9)
    assert weights.min() >= 0


def test_identity_that_no_expression_moves_has_the_ratio_zero_and_noise_has_one() -> None:
    random = np.random.default_rng(8)
    people = np.repeat(random.normal(size=(30, 1, 80)), 5, axis=1)
    assert identity_ratio(people) == 0.0
    assert identity_ratio(random.normal(size=(30, 5, 80))) == pytest.approx(1.0, abs=0.02)
    # Within √2·0.5, between √2·√1.25 of one deviation.
    moved = people + random.normal(0.0, 0.5, (30, 5, 80))
    assert identity_ratio(moved) == pytest.approx(0.5 / np.sqrt(1.25), abs=0.02)


def test_one_person_alone_has_no_identity_ratio() -> None:
    assert identity_ratio(np.ones((1, 5, 80))) is None
    assert identity_ratio(np.ones((3, 5, 80))) is None
