import numpy as np
import pytest

from pom.sampling.crops import MOST_BYTES, MOST_CROPS, MOST_TOMOGRAMS, SIDE, cut_crops, plan_crops

NAMES = [f"TS_{number:04}" for number in range(5000)]


@pytest.mark.parametrize("n_channels", [1, 2, 40])
@pytest.mark.parametrize("n_names", [1, 2, 3, 63, 64, 65, 5000])
def test_memory_and_reading_are_bounded_however_many_tomograms_there_are(n_names: int, n_channels: int) -> None:
    plan = plan_crops(NAMES[:n_names], n_channels, 0.2, seed=0)
    assert len(plan.training) + len(plan.held_out) == min(n_names, MOST_TOMOGRAMS)
    crops = len(plan.training) * plan.crops
    assert crops <= MOST_CROPS
    assert crops * n_channels * SIDE**2 * 4 <= MOST_BYTES
    assert len(plan.held_out) * plan.held_out_crops <= 64


def test_tomograms_are_chosen_evenly_and_some_are_held_out() -> None:
    plan = plan_crops(NAMES, 1, 0.2, seed=0)
    chosen = sorted(plan.training + plan.held_out)
    assert (chosen[0], chosen[-1]) == (NAMES[0], NAMES[-1])
    steps = np.diff([int(name[3:]) for name in chosen])
    assert set(steps.tolist()) == {79, 80}
    assert len(plan.held_out) == 8
    assert plan_crops(NAMES, 1, 0.2, seed=0) == plan
    assert plan_crops(NAMES, 1, 0.2, seed=1).held_out != plan.held_out


@pytest.mark.parametrize(("n_names", "share", "held_out"), [(2, 0.2, 0), (3, 0.2, 1), (10, 0.2, 2), (10, 0.0, 0)])
def test_whole_tomograms_are_held_out_of_three_or_more(n_names: int, share: float, held_out: int) -> None:
    plan = plan_crops(NAMES[:n_names], 1, share, seed=3)
    assert (len(plan.training), len(plan.held_out)) == (n_names - held_out, held_out)


def test_crops_are_windows_of_the_tomogram() -> None:
    data = np.arange(2 * 3 * 200 * 170, dtype=np.float32).reshape(2, 3, 200, 170)
    crops = cut_crops(data, 7, np.random.default_rng(0))
    assert crops.shape == (7, 2, SIDE, SIDE)
    corners = set()
    for crop in crops:
        k, y, x = (int(index) for index in np.unravel_index(int(crop[0, 0, 0]), (3, 200, 170)))
        np.testing.assert_array_equal(crop, data[:, k, y : y + SIDE, x : x + SIDE])
        corners.add((k, y, x))
    assert len(corners) == 7


@pytest.mark.parametrize(("shape", "number"), [((6, 32, 36), 3), ((1, 1, 1), 1), ((2, 1, 400), 1), ((40, 200, 90), 50)])
def test_what_is_smaller_than_a_crop_is_filled_by_reflection(shape: tuple[int, int, int], number: int) -> None:
    data = np.random.default_rng(1).random((1, *shape), dtype=np.float32)
    crops = cut_crops(data, 50, np.random.default_rng(0))
    assert crops.shape == (number, 1, SIDE, SIDE)
    assert np.isin(crops, data).all()
    height, width = shape[1:]
    if height < SIDE and width < SIDE:
        top, left = (SIDE - height) - (SIDE - height) // 2, (SIDE - width) - (SIDE - width) // 2
        middle = crops[:, 0, top : top + height, left : left + width]
        assert all(any(np.array_equal(image, there) for there in data[0]) for image in middle)
