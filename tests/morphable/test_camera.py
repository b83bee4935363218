"""Promises of pose and projection."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from semface.morphable.camera import euler_angles, project, rotation_matrix

FORWARD = np.array([0.0, 0.0, 1.0])
UP = np.array([0.0, 1.0, 0.0])
angle = st.floats(-1.4, 1.4)


def turn(pitch: float = 0.0, yaw: float = 0.0, roll: float = 0.0) -> np.ndarray:
    return rotation_matrix(np.array([[pitch, yaw, roll]]))[0]


@given(angle, angle, angle)
def test_angles_come_back_from_their_matrix(pitch: float, yaw: float, roll: float) -> None:
    assert euler_angles(turn(pitch, yaw, roll)[None])[0] == pytest.approx([pitch, yaw, roll], abs=1e-9)


@given(angle, angle, angle)
def test_a_rotation_keeps_lengths_and_sides(pitch: float, yaw: float, roll: float) -> None:
    matrix = turn(pitch, yaw, roll)
    assert matrix @ matrix.T == pytest.approx(np.eye(3), abs=1e-9)
    assert np.linalg.det(matrix) == pytest.approx(1.0)


def test_positive_pitch_looks_down() -> None:
    assert (turn(pitch=0.3) @ FORWARD)[1] < 0


def test_positive_yaw_turns_to_the_right_of_the_picture() -> None:
    assert (turn(yaw=0.3) @ FORWARD)[0] > 0


def test_positive_roll_tilts_the_head_counter_clockwise() -> None:
    assert (turn(roll=0.3) @ UP)[0] < 0


def test_the_origin_of_an_unmoved_head_falls_on_the_middle_of_the_square() -> None:
    points, depth = project(np.zeros((1, 1, 3)), np.zeros((1, 3)), np.zeros((1, 3)))
    assert points[0, 0] == pytest.approx([0.5, 0.5])
    assert depth[0, 0] == pytest.approx(1000.0)


def test_up_in_the_world_is_up_in_the_picture_and_nearer_is_larger() -> None:
    vertex = np.array([[[30.0, 40.0, 0.0]]])
    points, _ = project(vertex, np.zeros((1, 3)), np.zeros((1, 3)))
    nearer, _ = project(vertex, np.zeros((1, 3)), np.array([[0.0, 0.0, 200.0]]))
    assert points[0, 0, 0] > 0.5 > points[0, 0, 1]
    assert np.abs(nearer - 0.5).sum() > np.abs(points - 0.5).sum()
