import pytest
import torch
from torch import Generator, Tensor

from pom.sampling.augmentation import augment, shown_side

N, SIDE, SHOWN = 16, 96, 64


def blobs() -> Tensor:
    """(n, 1, y, x): an L with a disc beside it, of no symmetry."""
    y, x = torch.meshgrid(torch.arange(SIDE) - 16, torch.arange(SIDE) - 16, indexing="ij")
    shape = ((x > 20) & (x < 30) & (y > 16) & (y < 48)) | ((x >= 30) & (x < 46) & (y > 16) & (y < 26))
    shape |= (x - 42) ** 2 + (y - 40) ** 2 < 36
    return shape.float().expand(N, 1, SIDE, SIDE).clone()


def run(images: Tensor, masks: Tensor, density: list[bool], seed: int = 0) -> tuple[Tensor, Tensor]:
    return augment(images, masks, torch.tensor(density), Generator().manual_seed(seed))


def test_the_generator_alone_decides() -> None:
    images, masks = torch.randn(N, 2, SIDE, SIDE), blobs()
    torch.manual_seed(1)
    first = run(images, masks, [True, False], seed=3)
    torch.manual_seed(2)
    second = run(images, masks, [True, False], seed=3)
    other = run(images, masks, [True, False], seed=4)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[1], other[1])


def test_the_inputs_are_left_as_they_were() -> None:
    images, masks = torch.randn(N, 2, SIDE, SIDE), blobs()
    kept = images.clone(), masks.clone()
    run(images, masks, [True, False])
    assert torch.equal(images, kept[0])
    assert torch.equal(masks, kept[1])


def test_masks_stay_0_and_1_and_move_with_the_images() -> None:
    blob = blobs()
    images, masks = run(blob, torch.cat([blob, torch.ones_like(blob)], dim=1), [False])
    assert images.shape == (N, 1, SHOWN, SHOWN)
    assert masks.shape == (N, 2, SHOWN, SHOWN)
    assert set(masks.flatten().tolist()) == {0.0, 1.0}
    valid = masks[:, 1] > 0
    # Interpolated values lie on the rim alone; all others are those of the mask.
    clear = valid & ((images[:, 0] < 0.01) | (images[:, 0] > 0.99))
    assert clear[valid].float().mean() > 0.9
    assert torch.equal((images[:, 0] > 0.5)[clear], (masks[:, 0] > 0)[clear])
    same = ((images[:, 0] > 0.5) == (masks[:, 0] > 0))[valid]
    assert same.float().mean() > 0.99


def test_every_patch_moves_its_own_way() -> None:
    _, masks = run(blobs(), blobs(), [False])
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) == N


def test_what_comes_from_outside_the_patch_is_not_valid() -> None:
    ones = torch.ones(N, 1, SIDE, SIDE)
    images, masks = run(ones, ones, [False])
    torch.testing.assert_close(images, torch.ones(N, 1, SHOWN, SHOWN))
    outside = 1 - masks.mean(dim=(1, 2, 3))
    assert (masks[:, :, 24:40, 24:40] == 1).all()
    # Little of it: the patch is larger than what is shown.
    assert 0.01 < outside.mean() < 0.15
    assert outside.max() < 0.4


def test_a_part_of_the_patch_is_shown() -> None:
    assert [shown_side(side) for side in (160, 128, 112, 96, 48, 16)] == [96, 80, 64, 64, 32, 16]


def test_the_middle_of_a_patch_may_come_to_lie_anywhere_near_it() -> None:
    """What was drawn lies in the middle of most patches; where it lies must not be a clue."""
    spot = torch.zeros(200, 1, SIDE, SIDE)
    spot[:, :, 44:52, 44:52] = 1.0
    _, masks = run(spot, spot, [True])
    y = (masks.sum(dim=3) * torch.arange(SHOWN)).sum(dim=(1, 2)) / masks.sum(dim=(1, 2, 3))
    assert y.isfinite().all()
    assert y.min() < 16
    assert y.max() > 47
    assert y.mean() == pytest.approx(31.5, abs=2)


def test_only_density_changes_its_look() -> None:
    """Probabilities keep their range and their values; density gets gain, offset and noise of each patch's own."""
    flat = torch.full((N, 3, SIDE, SIDE), -1.0)
    flat[:, 2] = 1.0
    images, _ = run(flat, blobs(), [True, False, False])
    torch.testing.assert_close(images[:, 1:], flat[:, 1:, :SHOWN, :SHOWN])
    assert images[:, 0].mean(dim=(1, 2)).std() > 0.1
    noise = images[:, 0, 8:-8, 8:-8].std(dim=(1, 2))
    assert noise.max() > 0.1
    assert noise.max() < 0.5
    probabilities = 2 * torch.rand(N, 1, SIDE, SIDE) - 1
    moved, _ = run(probabilities, blobs(), [False])
    assert moved.abs().max() <= 1 + 1e-5


@pytest.mark.parametrize("seed", range(3))
def test_area_is_kept_but_for_the_zoom(seed: int) -> None:
    """The zoom is at most 1.25 in length, so at most 1.5625 in area, either way."""
    before, (_, after) = blobs().sum(dim=(1, 2, 3)), run(blobs(), blobs(), [False], seed)
    ratio = after.sum(dim=(1, 2, 3)) / before
    assert ratio.min() > 0.6
    assert ratio.max() < 1.6
    assert ratio.std() > 0.05
