import numpy as np
import pytest

from pom.render.shading import hollows, outlines

SIDE = 256


def test_slopes_are_bright_and_hollows_dark() -> None:
    row, column = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    slope = 500 + 0.7 * row + 0.2 * column
    assert hollows(slope, 1.0)[20:-20, 20:-20] == pytest.approx(1, abs=1e-3)
    groove = 500 + np.clip(6 - abs(column - 128), 0, None)
    light = hollows(groove, 1.0)
    assert light[128, 128] < 0.8
    assert light[128, 60] == pytest.approx(1)
    ridge = 500 - np.clip(6 - abs(column - 128), 0, None)
    assert hollows(ridge, 1.0)[128, 128] == pytest.approx(1)


def test_what_hangs_far_in_front_casts_no_shade() -> None:
    depth = np.full((SIDE, SIDE), 900, np.float32)
    depth[100:130, 100:130] = 500
    assert hollows(depth, 1.0).min() == pytest.approx(1)


def test_where_there_is_nothing_all_is_light() -> None:
    assert hollows(np.full((64, 64), np.inf, np.float32), 1.0).min() == 1


def test_outlines_are_on_the_nearer_side() -> None:
    depth = np.full((64, 64), np.inf, np.float32)
    depth[:, 10:40] = 300
    depth[:, 40:50] = 320
    line = outlines(depth, 5)
    assert line[30, 39] == 1  # the far side is 20 farther
    assert line[30, 40] == 0
    assert line[30, 49] == 1  # nothing behind it
    assert line[30, 50:].max() == 0
    assert line[30, 20] == 0
    assert outlines(depth, 30)[30, 39] == 0
