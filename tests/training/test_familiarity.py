"""A network trained for a few epochs on bright squares knows them when it sees them, and knows what they are not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pom.inference.familiarity import FEWEST, MOST, Familiarity
from pom.networks.devices import Devices
from pom.networks.unet import UNet
from pom.training.data import LabelledPatches
from pom.training.familiarity import familiarity_of
from pom.training.fit import fit
from pom.training.objectives import single_objective
from pom.training.plan import Plan

WIDTHS = (8, 16)
Volume = NDArray[np.float32]
MakeFamiliarity = Callable[..., Familiarity]


def squares(random: np.random.Generator, shape: tuple[int, int, int]) -> tuple[Volume, NDArray[np.bool_]]:
    """Normalised slices (z, y, x) of noise with bright squares, and where they are."""
    there = np.zeros(shape, np.bool_)
    for mask in there:
        for _ in range(max(1, shape[1] * shape[2] // 300)):
            y, x = random.integers(0, shape[1] - 10), random.integers(0, shape[2] - 10)
            mask[y : y + 10, x : x + 10] = True
    volume = random.normal(size=shape) + 3.0 * there
    # The same for all, as a whole tomogram is normalised and not each of its slices.
    return ((volume - 0.8) / 1.6).astype(np.float32), there


def patches(n: int, seed: int) -> LabelledPatches:
    images, drawn = squares(np.random.default_rng(seed), (n, 64, 64))
    images, drawn = images[:, 16:48, 16:48].copy(), drawn[:, 16:48, 16:48].copy()
    everywhere, zeros = torch.ones(n, 32, 32, dtype=torch.bool), torch.zeros(n, dtype=torch.int64)
    there = torch.from_numpy(drawn)
    return LabelledPatches(
        torch.from_numpy(images[:, None]), there.to(torch.uint8), everywhere, zeros, there, everywhere, zeros,
        torch.ones(n, dtype=torch.float64),
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> UNet:
    torch.manual_seed(0)
    training, nothing = patches(40, seed=0), patches(0, seed=0)
    plan = Plan(8, batch_size=8, learning_rate=3e-3, seed=1, bf16=False, stop_early=False)
    folder = tmp_path_factory.mktemp("network")
    objective = single_objective("Square", training)
    untrained, density = UNet(1, 1, WIDTHS), torch.tensor([True])
    network = fit(untrained, objective, training, nothing, density, plan, Devices(), folder, "Square", "mark").network
    assert isinstance(network, UNet)
    return network


@pytest.fixture
def make(trained: UNet, random_network: Callable[..., Any]) -> MakeFamiliarity:
    def familiarity(n_held_out: int = 30) -> Familiarity:
        known = familiarity_of(trained, patches(40, seed=0).images, patches(n_held_out, seed=1).images)
        assert int(known["window"]) == 32
        assert len(known["reference"]) == (n_held_out if n_held_out >= 20 else n_held_out + 40)
        _, card = random_network("joint", ("Square",), channels=("Density",), widths=WIDTHS)
        return Familiarity(trained.state_dict(), card, known, "cpu", 4)

    return familiarity


@pytest.mark.parametrize("n_held_out", [30, 5, 0])
def test_the_same_kind_is_familiar_and_others_are_not(make: MakeFamiliarity, n_held_out: int) -> None:
    familiarity = make(n_held_out)
    random = np.random.default_rng(7)
    known = squares(random, (12, 70, 90))[0][None]
    score = familiarity.score(known)
    assert 0.2 < score < 1.0
    assert familiarity.score(known) == score
    assert familiarity.score(-known) > 1.3
    assert familiarity.score(random.normal(scale=4.0, size=known.shape).astype(np.float32)) > 1.3


@pytest.mark.parametrize("shape", [(1, 1, 5, 7), (1, 3, 32, 20), (1, 2, 33, 200)])
def test_a_tomogram_of_any_size(make: MakeFamiliarity, shape: tuple[int, ...]) -> None:
    assert np.isfinite(make().score(np.random.default_rng(0).normal(size=shape).astype(np.float32)))


@pytest.mark.parametrize(
    ("shape", "number"),
    [((1, 2, 40, 40), FEWEST), ((1, 40, 256, 256), round(0.01 * 4 * 40 * 64)), ((1, 100, 512, 512), MOST)],
)
def test_a_hundredth_of_the_pixels_is_looked_at(make: MakeFamiliarity, shape: tuple[int, ...], number: int) -> None:
    volume = np.broadcast_to(np.arange(shape[1], dtype=np.float32)[:, None, None], shape)
    windows = make()._windows(volume)
    assert windows.shape == (number, 1, 32, 32)
    assert windows.min() == 0.0
    assert windows.max() == shape[1] - 1
