import math

import numpy as np
import pytest
from numpy.typing import NDArray

from pom.render.camera import FIELD_OF_VIEW, FILLED, Camera, look_at_box

SIZE = np.array([300.0, 200.0, 60.0])


def on_picture(camera: Camera, point: NDArray[np.float64]) -> tuple[float, float]:
    """Right and up, from -1 to 1."""
    off = point - camera.eye
    depth = off @ camera.forward * math.tan(math.radians(FIELD_OF_VIEW / 2))
    return float(off @ camera.right / depth), float(off @ camera.up / depth)


def test_without_pitch_one_looks_down_on_the_tomogram() -> None:
    camera = look_at_box(SIZE, 0, 180)
    assert camera.forward == pytest.approx([0, 0, -1], abs=1e-9)
    assert camera.right == pytest.approx([1, 0, 0], abs=1e-9)
    assert camera.up == pytest.approx([0, 1, 0], abs=1e-9)


def test_usual_angles_look_down_from_the_edge_where_y_is_0() -> None:
    camera = look_at_box(SIZE, -30, 180)
    assert camera.eye[0] == pytest.approx(150)
    assert camera.eye[1] < 0
    assert camera.eye[2] > 60
    assert camera.forward == pytest.approx([0, 0.5, -math.sqrt(3) / 2], abs=1e-9)
    assert camera.right == pytest.approx([1, 0, 0], abs=1e-9)


@pytest.mark.parametrize(
    ("yaw", "axis", "sign"), [(180, 2, 1), (0, 2, -1), (90, 0, 1), (-90, 0, -1)], ids=["above", "below", "x", "-x"]
)
def test_yaw_goes_round_y(yaw: float, axis: int, sign: int) -> None:
    out = look_at_box(SIZE, 0, yaw).forward * -sign
    assert out[axis] == pytest.approx(1)


@pytest.mark.parametrize("pitch", [-90.0, -30.0, 10.0, 90.0])
@pytest.mark.parametrize("yaw", [0.0, 137.0, 180.0])
def test_box_fills_the_picture(pitch: float, yaw: float) -> None:
    camera = look_at_box(SIZE, pitch, yaw)
    corners = [SIZE * (x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    farthest = max(max(map(abs, on_picture(camera, corner))) for corner in corners)
    assert farthest == pytest.approx(FILLED)
    depths = [float((corner - camera.eye) @ camera.forward) for corner in corners]
    assert camera.near < min(depths) < max(depths) < camera.far


def test_turn_goes_round_z_and_keeps_its_distance() -> None:
    turns = [0.0, 45.0, 90.0]
    cameras = [look_at_box(SIZE, -30, 180, turn, turns) for turn in turns]
    distances = [np.linalg.norm(camera.eye - camera.focus) for camera in cameras]
    assert distances == pytest.approx([max(distances)] * 3)
    assert len({round(float(camera.eye[2]), 6) for camera in cameras}) == 1
    # By a quarter turn what was at the edge y = 0 is seen from the edge x = all.
    assert cameras[2].eye[0] > SIZE[0] / 2
    assert cameras[2].eye[1] == pytest.approx(SIZE[1] / 2)
