import numpy as np
import pytest

from pom.volumes.slab import slab_weights


@pytest.mark.parametrize("n_slices", [1, 2, 13, 20])
@pytest.mark.parametrize("z_sum", [0, 1, 4, 50])
@pytest.mark.parametrize("z_bin", [1, 2, 3, 30])
def test_equals_slab_then_bin(n_slices: int, z_sum: int, z_bin: int) -> None:
    column = np.random.default_rng(0).normal(size=n_slices)
    slabs = np.array([column[max(z - z_sum, 0) : z + z_sum + 1].mean() for z in range(n_slices)])
    expected = [slabs[z : z + z_bin].mean() for z in range(0, n_slices, z_bin)]
    weights = slab_weights(n_slices, z_sum, z_bin)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights @ column, expected, atol=1e-6)
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)


def test_without_slab_and_binning_every_slice_is_itself() -> None:
    np.testing.assert_array_equal(slab_weights(5, 0, 1), np.eye(5, dtype=np.float32))


def test_the_slab_is_clipped_at_the_top() -> None:
    np.testing.assert_allclose(slab_weights(5, 1, 1)[0], [0.5, 0.5, 0, 0, 0])
    np.testing.assert_allclose(slab_weights(5, 1, 1)[2], [0, 1 / 3, 1 / 3, 1 / 3, 0], rtol=1e-6)


@pytest.mark.parametrize("arguments", [(0, 1, 1), (5, -1, 1), (5, 1, 0)])
def test_refuses_nonsense(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="no slab"):
        slab_weights(*arguments)
