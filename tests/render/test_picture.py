"""Pictures by VTK; all in one window, which takes longest to open."""

import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from pom.render.camera import Camera, look_at_box
from pom.render.clouds import Cloud
from pom.render.picture import Outlines, Scene, Solid, draw_scene, window_side
from pom.render.surfaces import surface
from pom.render.window import Colour, Window

SIDE = 96
SIZE = np.array([40.0, 40.0, 20.0])
SHAPE = (20, 40, 40)
RED, GREEN, BLUE = (1.0, 0.1, 0.1), (0.1, 0.9, 0.1), (0.1, 0.1, 1.0)
ABOVE, BELOW = look_at_box(SIZE, 0, 180), look_at_box(SIZE, 0, 0)


@pytest.fixture(scope="module")
def window(opengl: None) -> Iterator[Window]:
    with Window(window_side(SIDE)) as opened:
        yield opened


def block(z: slice, y: slice, x: slice, colour: Colour, alpha: float = 1.0) -> Solid:
    volume = np.zeros(SHAPE, np.float32)
    volume[z, y, x] = 1
    return Solid(surface(volume, 128, 0, (10.0, 10.0, 10.0)), colour, alpha)


def draw(window: Window, *solids: Solid, camera: Camera = ABOVE, clouds: tuple[Cloud, ...] = ()) -> NDArray[np.int64]:
    picture = draw_scene(window, Scene(SIZE, solids, clouds, Outlines()), camera, SIDE)
    assert picture.shape == (SIDE, SIDE, 3)
    assert picture.dtype == np.uint8
    assert (picture[0, 0] == 255).all()  # beside the box
    return picture.astype(np.int64)


def is_like(pixel: NDArray[np.int64], colour: Colour) -> bool:
    """Whether the strongest part is the colour's, by far."""
    strongest = int(np.argmax(colour))
    return bool(pixel[strongest] > 1.5 * max(np.delete(pixel, strongest)))


def test_things_are_where_they_lie_and_the_nearest_is_seen(window: Window) -> None:
    left_low = block(slice(8, 12), slice(4, 14), slice(4, 14), BLUE)
    top = block(slice(14, 18), slice(16, 24), slice(16, 24), RED)
    bottom = block(slice(2, 6), slice(12, 28), slice(12, 28), GREEN)
    picture = draw(window, left_low, top, bottom)
    middle = SIDE // 2
    assert is_like(picture[middle, middle], RED)
    assert is_like(picture[middle, middle - 13], GREEN)
    assert is_like(picture[SIDE - 27, 27], BLUE)  # x to the right, y upwards
    assert (picture[27, SIDE - 27] == 255).all()
    picture = draw(window, left_low, top, bottom, camera=BELOW)
    assert is_like(picture[middle, middle], GREEN)
    assert is_like(picture[SIDE - 27, SIDE - 27], BLUE)  # from below, left is right


def test_glass_is_seen_through(window: Window) -> None:
    pane = block(slice(16, 18), slice(4, 36), slice(4, 36), RED, alpha=0.5)
    behind = block(slice(4, 8), slice(16, 24), slice(16, 24), BLUE)
    picture = draw(window, pane, behind)
    middle = SIDE // 2
    red, green, blue = picture[middle, middle]
    assert red > 90
    assert blue > 90
    assert green < 60
    red, green, blue = picture[middle, middle - 20]  # white behind it
    assert red > 200
    assert 100 < green < 200
    assert abs(green - blue) < 8


def test_of_two_panes_the_nearer_counts_for_more(window: Window) -> None:
    panes = [
        block(slice(start, start + 3), slice(4, 36), slice(4, 36), colour, alpha=0.7)
        for start, colour in ((14, RED), (3, BLUE))
    ]
    middle = SIDE // 2
    red, _, blue = draw(window, *panes)[middle, middle]
    assert red > blue + 60
    red, _, blue = draw(window, *panes, camera=BELOW)[middle, middle]
    assert blue > red + 60


def test_panes_lie_before_and_behind_clouds(window: Window) -> None:
    volume = np.zeros(SHAPE, np.float32)
    volume[10:] = 1
    pane, cloud = block(slice(1, 4), slice(4, 36), slice(4, 36), BLUE, alpha=0.8), Cloud(volume, RED, 1.0, 128)
    middle = SIDE // 2
    assert is_like(draw(window, pane, clouds=(cloud,))[middle, middle], RED)
    assert is_like(draw(window, pane, clouds=(cloud,), camera=BELOW)[middle, middle], BLUE)


def test_clouds_lie_before_and_behind_things(window: Window) -> None:
    volume = np.zeros(SHAPE, np.float32)
    volume[10:] = 1
    thing = block(slice(2, 8), slice(16, 24), slice(16, 24), BLUE)
    cloud = Cloud(volume, RED, 1.0, 128)
    covered = draw(window, thing, clouds=(cloud,))[SIDE // 2, SIDE // 2]
    free = draw(window, thing, clouds=(cloud,), camera=BELOW)[SIDE // 2, SIDE // 2]
    assert is_like(covered, RED)
    assert is_like(free, BLUE)


@pytest.mark.parametrize("camera", [ABOVE, BELOW])
def test_clouds_that_fill_a_part_of_the_box(window: Window, camera: Camera) -> None:
    volume = np.zeros(SHAPE, np.float32)
    volume[10:] = 0.3
    part = (np.array([0.0, 0.0, SIZE[2] / 2]), SIZE * (1, 1, 0.5))
    whole = Scene(SIZE, clouds=(Cloud(volume, RED, 1.0, 128),))
    upper = Scene(SIZE, clouds=(Cloud(volume[10:], RED, 1.0, 128),), clouds_within=part)
    pictures = [draw_scene(window, scene, camera, SIDE).astype(int) for scene in (whole, upper)]
    assert abs(pictures[0] - pictures[1]).mean() < 2
    assert pictures[0][SIDE // 2, SIDE // 2, 2] < 240


@pytest.mark.skipif(sys.platform != "linux", reason="there is another OpenGL")
def test_without_opengl_it_says_so() -> None:
    script = "from pom.render import window; window.find_library = lambda name: None; window.Window(8)"  # no OSMesa
    environment = {**os.environ, "__EGL_VENDOR_LIBRARY_FILENAMES": os.devnull}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert "NoOpenGLError: There is no OpenGL to draw with" in result.stderr


def test_only_the_box_is_drawn_of_nothing(window: Window) -> None:
    nothing = surface(np.zeros(SHAPE, np.float32), 128, 0, (10.0, 10.0, 10.0))
    picture = draw(window, Solid(nothing, RED), Solid(nothing, BLUE, 0.5), camera=look_at_box(SIZE, -30, 180))
    dark = (picture < 250).any(axis=2)
    assert 0.01 < dark.mean() < 0.15
    assert (picture.max(axis=2) - picture.min(axis=2)).max() < 30  # grey
