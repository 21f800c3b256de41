import pytest
import torch

from pom.networks.orientations import N_ORIENTATIONS, orient, orientations, restore, swaps_axes

IMAGES = torch.arange(2 * 3 * 5 * 4).reshape(2, 3, 5, 4)


@pytest.mark.parametrize("k", range(N_ORIENTATIONS))
def test_restore_undoes_orient(k: int) -> None:
    assert torch.equal(restore(orient(IMAGES, k), k), IMAGES)
    assert torch.equal(orient(restore(IMAGES, k), k), IMAGES)


@pytest.mark.parametrize("k", range(N_ORIENTATIONS))
def test_axes_are_swapped_or_not(k: int) -> None:
    assert orient(IMAGES, k).shape[2:] == ((4, 5) if swaps_axes(k) else (5, 4))


def test_all_eight_differ_and_the_first_changes_nothing() -> None:
    square = torch.arange(16).reshape(4, 4)
    assert torch.equal(orient(square, 0), square)
    assert len({tuple(orient(square, k).flatten().tolist()) for k in range(N_ORIENTATIONS)}) == 8


def test_the_turns_alone_keep_the_handedness() -> None:
    square = torch.tensor([[1, 2], [4, 3]])
    clockwise = {(1, 2, 3, 4), (2, 3, 4, 1), (3, 4, 1, 2), (4, 1, 2, 3)}
    for k in range(N_ORIENTATIONS):
        (a, b), (d, c) = orient(square, k).tolist()
        assert ((a, b, c, d) in clockwise) == (k < 4)


@pytest.mark.parametrize("number", [1, 2, 4, 8])
def test_the_sets_are_closed(number: int) -> None:
    """Two members one after the other are a member: then an average over all does not mind a turn of its input."""
    square = torch.arange(9).reshape(3, 3)
    chosen = orientations(number)
    assert len(set(chosen)) == number
    members = {tuple(orient(square, k).flatten().tolist()) for k in chosen}
    for first in chosen:
        for second in chosen:
            assert tuple(orient(orient(square, first), second).flatten().tolist()) in members
