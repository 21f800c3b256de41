import numpy as np
import pytest
from numpy.typing import NDArray

from pom.volumes.binning import bin_mean, unbin


def brute_force(array: NDArray[np.generic], factors: tuple[int, ...]) -> NDArray[np.float64]:
    result = array.astype(np.float64)
    for axis, factor in enumerate(factors, start=array.ndim - len(factors)):
        n = result.shape[axis]
        blocks = [result.take(range(k, min(k + factor, n)), axis).mean(axis) for k in range(0, n, factor)]
        result = np.stack(blocks, axis)
    return result


def test_a_ramp_gives_the_centres_of_the_bins() -> None:
    y, x = np.mgrid[0:6, 0:8]
    binned = bin_mean(10 * y + x, (3, 2))
    assert binned.tolist() == [[10.5, 12.5, 14.5, 16.5], [40.5, 42.5, 44.5, 46.5]]


def test_the_last_partial_block_is_the_mean_of_what_exists() -> None:
    assert bin_mean(np.array([1.0, 3.0, 5.0, 7.0, 100.0]), (2,)).tolist() == [2.0, 6.0, 100.0]
    assert bin_mean(np.array([1.0, 3.0]), (5,)).tolist() == [2.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8, np.uint8, np.int16, np.uint16])
@pytest.mark.parametrize(
    ("shape", "factors"),
    [
        ((13, 37, 29), (2, 2)),
        ((5, 12, 9), (1, 3)),
        ((4, 7, 8), (4, 1)),
        ((13, 37, 29), (2, 3, 4)),
        ((2, 3, 8, 9), (5, 5)),
    ],
)
def test_equals_brute_force(dtype: type[np.generic], shape: tuple[int, ...], factors: tuple[int, ...]) -> None:
    array = np.random.default_rng(1).uniform(0, 100, shape).astype(dtype)
    binned = bin_mean(array, factors)
    assert binned.dtype == np.float32
    np.testing.assert_allclose(binned, brute_force(array, factors), rtol=1e-6)


def test_factor_one_copies_and_leaves_the_input_alone() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    binned = bin_mean(array, (1, 1))
    binned[0, 0] = 99
    assert array[0, 0] == 0


def test_extreme_integers_do_not_overflow() -> None:
    assert bin_mean(np.full((4, 4), 65535, np.uint16), (4, 4)).tolist() == [[65535.0]]
    assert bin_mean(np.full((4, 4), -128, np.int8), (2, 4)).tolist() == [[-128.0], [-128.0]]


@pytest.mark.parametrize("factors", [(), (0, 2), (2, 2, 2)])
def test_refuses_factors_that_do_not_suit(factors: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="do not suit"):
        bin_mean(np.zeros((4, 4)), factors)


@pytest.mark.parametrize("dtype", [np.float32, np.bool_, np.uint8])
def test_every_pixel_gets_the_value_of_its_bin(dtype: type[np.generic]) -> None:
    image = np.array([[0, 1, 2], [3, 4, 5]]).astype(dtype)
    result = unbin(image, (3, 2), (5, 5))
    assert result.dtype == dtype
    expected = [[0, 0, 1, 1, 2]] * 3 + [[3, 3, 4, 4, 5]] * 2
    np.testing.assert_array_equal(result, np.array(expected).astype(dtype))


@pytest.mark.parametrize("factors", [(1, 1), (2, 3), (4, 1), (32, 32)])
def test_binning_undoes_unbinning(factors: tuple[int, int]) -> None:
    shape = (17, 22)
    bins = (-(-17 // factors[0]), -(-22 // factors[1]))
    image = np.random.default_rng(0).normal(size=bins).astype(np.float32)
    np.testing.assert_allclose(bin_mean(unbin(image, factors, shape), factors), image, rtol=1e-6)


@pytest.mark.parametrize("shape", [(4, 6), (7, 6), (6, 4)])
def test_bins_of_another_image(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="is not one of"):
        unbin(np.zeros((3, 3)), (2, 2), shape)
