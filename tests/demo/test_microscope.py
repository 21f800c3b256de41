"""The microscope: what it shows dark, what it does not see, and what noise it adds."""

from dataclasses import replace

import numpy as np
import pytest

from pom.demo.microscope import Exposure, segment_membrane, take_tomogram
from pom.demo.shapes import Field

SHAPE = (32, 48, 50)
CLEAN = Exposure(defocus=40_000, blur=0.5, noise=0.0, gain=500, offset=100)


def spot() -> Field:
    mass = np.zeros(SHAPE, np.float32)
    mass[15:18, 23:26, 24:27] = 1
    return mass


def test_dense_is_dark() -> None:
    density = take_tomogram(np.random.default_rng(0), spot(), CLEAN)
    assert density.dtype == np.float32
    assert density[16, 24, 25] == density.min()
    assert density.mean() == pytest.approx(100, abs=0.5)


def test_the_wedge_about_y_is_missing() -> None:
    rng = np.random.default_rng(0)
    density = take_tomogram(rng, spot(), replace(CLEAN, noise=1.0))
    power = np.abs(np.fft.fftn(density - density.mean())) ** 2
    kz = np.abs(np.fft.fftfreq(SHAPE[0]))[:, None, None]
    kx = np.abs(np.fft.fftfreq(SHAPE[2]))[None, None, :]
    missing = np.broadcast_to(kz > np.tan(np.radians(60)) * kx + 2 / SHAPE[0], SHAPE)
    measured = np.broadcast_to(kz < np.tan(np.radians(60)) * kx - 2 / SHAPE[0], SHAPE)
    assert power[missing].mean() < 1e-6 * power[measured].mean()


def test_noise_scales_with_the_gain() -> None:
    empty = np.zeros(SHAPE, np.float32)
    once, twice = (
        take_tomogram(np.random.default_rng(0), empty, replace(CLEAN, noise=0.5, gain=gain)).std() for gain in (1, 2)
    )
    assert once > 0.1
    assert twice == pytest.approx(2 * once, rel=1e-4)


def test_exposures_differ() -> None:
    rng = np.random.default_rng(0)
    assert Exposure.draw(rng) != Exposure.draw(rng)


def test_membrane_segmentation_loses_what_lies_in_the_plane() -> None:
    upright, flat = np.zeros((2, *SHAPE), np.float32)
    upright[:, :, 24:27] = 1
    flat[15:18] = 1
    found = [segment_membrane(np.random.default_rng(1), membrane)[membrane > 0].mean() for membrane in (upright, flat)]
    assert found[0] > 0.8
    assert found[1] < 0.1


def test_membrane_segmentation_is_imperfect_and_in_range() -> None:
    membrane = np.zeros((32, 128, 128), np.float32)
    membrane[:, :, 20::30] = 1
    membrane[:, :, 21::30] = 1
    found = segment_membrane(np.random.default_rng(2), membrane)
    assert found.dtype == np.float32
    assert 0 <= found.min() < 0.05
    assert 0.9 < found.max() <= 1
    assert 0 < (found[membrane > 0] < 0.5).mean() < 0.3
    assert 0 < (found[membrane == 0] > 0.5).mean() < 0.1
