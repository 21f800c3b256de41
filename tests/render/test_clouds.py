import math

import numpy as np
import pytest
from numpy.typing import NDArray

from pom.render.camera import Camera, look_at_box
from pom.render.clouds import MOST_VOXELS, OPAQUE_AFTER, Cloud, coarse, draw_clouds

SIZE = np.array([100.0, 100.0, 20.0])
ABOVE = look_at_box(SIZE, 0, 180)
RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
FAR = np.full((32, 32), np.inf, np.float32)
MIDDLE = (16, 16)


def filled(value: float = 1.0) -> NDArray[np.float32]:
    return np.full((10, 50, 50), value, np.float32)


def draw(*clouds: Cloud, camera: Camera = ABOVE, depth: NDArray[np.float32] = FAR) -> tuple[list[float], float]:
    """Colour and cover of the picture's middle."""
    colour, cover = draw_clouds(clouds, SIZE, camera, depth)
    assert cover[0, 0] == pytest.approx(0, abs=0.02)  # beside the box
    return colour[MIDDLE].tolist(), float(cover[MIDDLE])


def test_cover_is_by_thickness() -> None:
    colour, cover = draw(Cloud(filled(), RED, 1.0, 128))
    expected = 1 - math.exp(-20 / (OPAQUE_AFTER * 100))
    assert cover == pytest.approx(expected, rel=0.01)
    assert colour == pytest.approx([expected, 0, 0], rel=0.01)


def test_alpha_thins_and_level_hides() -> None:
    _, cover = draw(Cloud(filled(), RED, 0.5, 128))
    assert cover == pytest.approx(1 - math.exp(-0.5 * 20 / (OPAQUE_AFTER * 100)), rel=0.01)
    assert draw(Cloud(filled(0.2), RED, 1.0, 128))[1] == 0  # below half of the level


def test_a_thing_in_it_ends_the_view() -> None:
    middle = float(np.linalg.norm(ABOVE.eye - ABOVE.focus))
    _, cover = draw(Cloud(filled(), RED, 1.0, 128), depth=np.full((32, 32), middle, np.float32))
    assert cover == pytest.approx(1 - math.exp(-10 / (OPAQUE_AFTER * 100)), rel=0.02)


def test_what_is_nearer_counts_for_more() -> None:
    top, bottom = filled(), filled()
    top[:5], bottom[5:] = 0, 0
    clouds = (Cloud(top, RED, 1.0, 128), Cloud(bottom, BLUE, 1.0, 128))
    red, _, blue = draw(*clouds)[0]
    assert red > 2 * blue > 0
    red, _, blue = draw(*clouds, camera=look_at_box(SIZE, 0, 0))[0]
    assert blue > 2 * red > 0


def test_coarse() -> None:
    assert coarse(np.ones((3, 2 * MOST_VOXELS, 10), np.float32)).shape == (2, MOST_VOXELS, 5)
    small = filled()
    assert coarse(small) is small
