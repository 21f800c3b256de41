"""What was named where: counts, and the figures that come from them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Score:
    """How often one class was named rightly, named where it is not, and missed where it is."""

    right: int
    extra: int
    missed: int

    @property
    def dice(self) -> float | None:
        """2 right / (2 right + extra + missed), 0..1; None where the class neither is nor was named."""
        return _share(2 * self.right, 2 * self.right + self.extra + self.missed)

    @property
    def precision(self) -> float | None:
        """How much of what was named is right, 0..1; None where nothing was."""
        return _share(self.right, self.right + self.extra)

    @property
    def recall(self) -> float | None:
        """How much of what is there was named, 0..1; None where nothing is."""
        return _share(self.right, self.right + self.missed)


@dataclass(frozen=True, eq=False)
class Confusion:
    """Which classes were named where which class is; counts of voxels or pixels.

    Attributes:
        table: (n, n) int64; row k holds how often each class was named where class k is.
        named: (n,) int64; how often class k was named where it is known whether it is there. It is not the sum of a
            column where one may know that a voxel is not of class k without knowing what it is.
    """

    table: NDArray[np.int64]
    named: NDArray[np.int64]

    @classmethod
    def empty(cls, n_classes: int) -> "Confusion":
        """Nothing counted yet."""
        return cls(np.zeros((n_classes, n_classes), np.int64), np.zeros(n_classes, np.int64))

    def count(
        self,
        label: int,
        predicted: NDArray[np.integer],
        truth: NDArray[np.bool_],
        known: NDArray[np.bool_] | None = None,
    ) -> None:
        """Adds the voxels for which it is known whether they are of class ``label``.

        Args:
            label: 0..n - 1.
            predicted: the class named, 0..n - 1, of any shape of two axes or more.
            truth: of the same shape, where class ``label`` is.
            known: of the same shape, where ``truth`` says something; without it everywhere.

        Raises:
            ValueError: the shapes differ, or a class is out of range.
        """
        if predicted.shape != truth.shape or (known is not None and known.shape != truth.shape):
            raise ValueError(f"a prediction of shape {predicted.shape} cannot be compared with one of {truth.shape}")
        n_classes = len(self.named)
        if predicted.size and predicted.max() >= n_classes:
            raise ValueError(f"class {predicted.max()} was named, but there are only {n_classes}")
        there = truth if known is None else truth & known
        # One slice after the other: numpy counts in 64-bit copies.
        for classes, of_slice in zip(predicted, there, strict=True):
            self.table[label] += np.bincount(classes[of_slice], minlength=n_classes)
        answer = predicted == label
        self.named[label] += np.count_nonzero(answer if known is None else answer & known)

    def score(self, label: int) -> Score:
        """The counts of class ``label`` from which Dice, precision and recall come."""
        right = int(self.table[label, label])
        return Score(right, int(self.named[label]) - right, int(self.table[label].sum()) - right)

    def shares(self) -> NDArray[np.float64]:
        """(n, n), each row divided by its sum; rows of classes that are nowhere are NaN."""
        sums = self.table.sum(axis=1, keepdims=True)
        shares: NDArray[np.float64] = np.full(self.table.shape, np.nan)
        np.divide(self.table, sums, out=shares, where=sums > 0)
        return shares


def total(parts: Sequence[Confusion]) -> Confusion:
    """All counts together.

    Raises:
        ValueError: there are none to add.
    """
    if not parts:
        raise ValueError("nothing was counted")
    return Confusion(np.sum([part.table for part in parts], axis=0), np.sum([part.named for part in parts], axis=0))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
