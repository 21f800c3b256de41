"""Pieces of a mask, and the box that holds it."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from pom.volumes import pieces
from pom.volumes.pieces import PieceCounter, bounding_box, label_pieces, large_pieces, least_voxels


def test_corners_connect_and_gaps_divide() -> None:
    mask = np.zeros((4, 4, 6), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    mask[3, 3, 5] = True
    labels, n = label_pieces(mask)
    assert n == 2
    assert labels.shape == mask.shape
    assert labels[0, 0, 0] == labels[1, 1, 1] != labels[3, 3, 5]
    assert ((labels > 0) == mask).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_single_line_of_voxels_has_its_pieces(axis: int) -> None:
    shape = [1, 1, 1]
    shape[axis] = 7
    mask = (np.arange(7) % 2 == 0).reshape(shape)
    labels, n = label_pieces(mask)
    assert n == 4
    assert labels.shape == mask.shape
    assert ((labels > 0) == mask).all()


def test_the_box_holds_all_and_its_margin_ends_with_the_volume_in_front() -> None:
    mask = np.zeros((6, 7, 8), bool)
    mask[1, 3:5, 2] = mask[2, 3, 6] = True
    assert bounding_box(mask) == (slice(1, 3), slice(3, 5), slice(2, 7))
    assert bounding_box(mask, 2) == (slice(0, 5), slice(1, 7), slice(0, 9))
    assert bounding_box(np.zeros((2, 2, 2), bool)) is None


def test_a_piece_exactly_as_large_as_dust_is_none() -> None:
    mask = np.zeros((3, 1, 9), bool)
    mask[0, 0, :5] = mask[2, 0, 2:8] = mask[2, 0, 0] = True
    # 0.3 is no sum of binary fractions: 1.5 / 0.3 is 5, and a little more or less.
    labels, is_large = large_pieces(mask, least_voxels(1.5, 0.3))
    assert is_large[labels[0, 0, 0]] and is_large[labels[2, 0, 2]]
    assert not is_large[labels[2, 0, 0]]
    assert not is_large[0]
    assert is_large.sum() == 2
    assert large_pieces(mask, 5.1)[1].sum() == 1
    assert large_pieces(mask, 0.0)[1].tolist() == [False, True, True, True]
    assert large_pieces(np.zeros((2, 2, 2), bool), 3)[1].tolist() == [False]


@pytest.mark.parametrize("slab", [1, 3, 8])
@pytest.mark.parametrize("step", [1, 2, 5])
@pytest.mark.parametrize("share", [0.02, 0.08, 0.3])
def test_pieces_are_the_same_however_few_slices_come_at_a_time(
    slab: int, step: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "SLAB", slab)
    random = np.random.default_rng(round(1000 * share))
    mask = random.random((23, 17, 19)) < share
    mask[9:12] = False  # nothing goes through here
    labels, n = label_pieces(mask)
    assert sizes_in_steps(mask, step) == sorted(np.bincount(labels[mask], minlength=n + 1)[1:])


def test_what_meets_only_in_the_last_slice_is_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "SLAB", 2)
    comb = np.zeros((7, 1, 9), bool)
    comb[:, 0, ::2] = True
    assert sizes_in_steps(comb, 1) == [7] * 5
    comb[6] = True
    assert sizes_in_steps(comb, 1) == [7 * 5 + 4]


def test_no_slices_and_empty_ones_hold_no_pieces() -> None:
    counter = PieceCounter()
    assert counter.sizes().tolist() == []
    counter.add(np.zeros((40, 3, 3), bool))
    assert counter.sizes().tolist() == []


def test_pieces_are_those_of_another_program() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        shape = tuple(random.integers(1, 9, 3))
        mask = random.random(shape) < random.uniform(0.02, 0.6)
        labels, _ = ndimage.label(mask, np.ones((3, 3, 3)))
        assert sizes_in_steps(mask, 3) == sorted(np.bincount(labels.ravel())[1:])


def test_very_many_pieces_are_counted() -> None:
    mask = np.zeros((40, 60, 60), bool)
    mask[::2, ::2, ::2] = True
    mask[0, 0, :3] = True
    assert sizes_in_steps(mask, 7) == [1] * (20 * 30 * 30 - 2) + [3]


def test_more_parts_than_16_bits_number_stay_apart() -> None:
    # Of the slices that are labelled last only a small box has anything, whose labels need few bits.
    mask = np.zeros((40, 512, 512), bool)
    mask[::2, ::4, ::4] = True
    mask[31:] = False
    mask[31:34, :60:2, :60:2] = True
    sizes = sizes_in_steps(mask, 8)
    labels, n = label_pieces(mask)
    assert len(sizes) > 1 << 16
    assert sizes == sorted(np.bincount(labels[mask], minlength=n + 1)[1:])


def sizes_in_steps(mask: NDArray[np.bool_], step: int) -> list[int]:
    counter = PieceCounter()
    for start in range(0, len(mask), step):
        counter.add(mask[start : start + step])
    return sorted(counter.sizes().tolist())
