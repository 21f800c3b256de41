"""Networks whose logits are known: the temperature that they were spoilt by is found again."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pom.training import calibration
from pom.training.calibration import calibrate, known_pixels
from pom.training.data import LabelledPatches

SIDE = 32
Names = list[str]


class Known(nn.Module):
    """The first channels of an image are its logits, times a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: Tensor) -> Tensor:
        return self.factor * images


def patches(logits: Tensor, own: Tensor, drawn: Tensor, known: Tensor | None = None) -> LabelledPatches:
    n = len(logits)
    everywhere = torch.ones(n, SIDE, SIDE, dtype=torch.bool)
    ones = torch.ones(n, dtype=torch.float64)
    known = everywhere if known is None else known
    return LabelledPatches(logits, drawn.to(torch.uint8), known, own, drawn, known, own, ones)


def honest(n: int, n_classes: int, seed: int = 0) -> LabelledPatches:
    """Logits that can be taken at their word; a person has drawn each patch's own class only."""
    random = torch.Generator().manual_seed(seed)
    logits = 2.0 * torch.randn(n, n_classes, SIDE, SIDE, generator=random)
    own = torch.arange(n) % n_classes
    likely = torch.sigmoid(logits[:, 0]) if n_classes == 1 else torch.softmax(logits, dim=1)[torch.arange(n), own]
    return patches(logits, own, torch.rand(n, SIDE, SIDE, generator=random) < likely)


def names(n: int, tomograms: int) -> "np.ndarray[tuple[int], np.dtype[np.str_]]":
    return np.array([f"TS_{index % tomograms}" for index in range(n)])


@pytest.mark.parametrize("n_classes", [1, 4])
@pytest.mark.parametrize("factor", [3.0, 1.0, 0.4])
def test_the_factor_of_the_logits_is_found(n_classes: int, factor: float) -> None:
    found = calibrate(Known(factor), honest(40, n_classes), names(40, 4), 1, seed=0)
    assert found is not None
    assert found.temperature == pytest.approx(factor, rel=0.06)
    assert found.ece < 0.01
    assert (found.n_pixels, found.n_tomograms, found.n_orientations) == (40 * SIDE**2, 4, 1)
    assert found.measured_on == "other tomograms"
    if factor == 3.0:
        assert found.ece_before > 0.05
    assert sum(part.pixels for part in found.bins) == sum(part.pixels for part in found.bins_before) == 40 * SIDE**2


def test_of_one_tomogram_the_error_is_measured_where_the_temperature_was_fitted() -> None:
    found = calibrate(Known(2.0), honest(8, 3), names(8, 1), 1, seed=0)
    assert found is not None
    assert (found.measured_on, found.n_tomograms) == ("same patches", 1)


def test_the_error_is_that_of_tomograms_that_did_not_choose_the_temperature() -> None:
    """One half of the tomograms asks for a low temperature, the other for a high one: each is given the wrong one."""
    low, high = honest(20, 1, seed=1), honest(20, 1, seed=2)
    logits = torch.cat([2.0 * low.images, 6.0 * high.images])
    both = patches(logits, torch.zeros(40, dtype=torch.int64), torch.cat([low.drawn, high.drawn]))
    found = calibrate(Known(1.0), both, np.array(["TS_1"] * 20 + ["TS_2"] * 20), 1, seed=0)
    assert found is not None
    mixed = calibrate(Known(1.0), both, np.array(["TS_1"] * 40), 1, seed=0)
    assert mixed is not None
    assert found.temperature == mixed.temperature
    assert found.ece > mixed.ece + 0.05


def test_a_few_sure_mistakes_do_not_take_the_confidence_from_all_others() -> None:
    """Of forty patches one is missed altogether; the others can be taken at their word."""
    patch = honest(40, 1)
    patch.images[-1], patch.drawn[-1] = -12.0, True
    found = calibrate(Known(1.0), patch, names(40, 2), 1, seed=0)
    assert found is not None
    assert found.temperature == 1
    assert found.ece == found.ece_before == pytest.approx(0.03, abs=0.01)
    assert found.bins == found.bins_before
    assert found.measured_on == "same patches"


def test_only_known_pixels_count() -> None:
    """Outside the boxes everything is said wrong."""
    right = honest(12, 1)
    known = torch.zeros(12, SIDE, SIDE, dtype=torch.bool)
    known[:, :, : SIDE // 2] = True
    drawn = torch.where(known, right.drawn, right.images[:, 0] < 0)
    found = calibrate(Known(1.0), patches(right.images, right.own, drawn, known), names(12, 2), 1, seed=0)
    assert found is not None
    assert found.temperature == pytest.approx(1.0, rel=0.1)
    assert found.n_pixels == 12 * SIDE**2 // 2


@pytest.mark.parametrize("all_drawn", [True, False])
def test_nothing_or_everything_drawn_tells_no_temperature(all_drawn: bool) -> None:
    one = honest(4, 1)
    same = patches(one.images, one.own, torch.full_like(one.drawn, all_drawn))
    assert calibrate(Known(1.0), same, names(4, 2), 1, seed=0) is None


def test_orientations_are_averaged_as_in_inference() -> None:
    """A network that minds a turn says in eight orientations less than in one; the temperature makes up for it."""

    class Turned(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            # Right in the upper half; below, nothing.
            rows = (torch.arange(SIDE) < SIDE // 2).float()[:, None]
            return 4.0 * images * rows

    patch = honest(12, 1)
    temperatures = []
    for n_orientations in (1, 8):
        found = calibrate(Turned(), patch, names(12, 2), n_orientations, seed=0)
        assert found is not None
        assert found.n_orientations == n_orientations
        temperatures.append(found.temperature)
    assert temperatures[1] < 0.8 * temperatures[0]


def test_many_pixels_are_sampled_alike_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "MOST_PIXELS", 5000)
    monkeypatch.setattr(calibration, "MOST_PATCHES", 30)
    first, again = (calibrate(Known(2.0), honest(60, 3), names(60, 3), 2, seed=5) for _ in range(2))
    assert first is not None
    assert first == again
    assert first.n_pixels == 5000
    pixels = known_pixels(Known(2.0), honest(60, 3), names(60, 3), 2, torch.Generator().manual_seed(5))
    assert pixels.logits.shape == (5000, 2, 3)
    assert len(set(zip(pixels.tomograms.tolist(), pixels.own.tolist(), strict=True))) == 3
