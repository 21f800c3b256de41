import numpy as np
import pytest
from numpy.typing import NDArray

from pom.measure.confusion import Confusion, Score, total

TRUTH = np.array([[0, 0, 0, 1, 1, 2]])
PREDICTED = np.array([[0, 0, 1, 1, 2, 2]], np.uint8)


def counted(truth: NDArray[np.integer], predicted: NDArray[np.integer], n_classes: int = 3) -> Confusion:
    confusion = Confusion.empty(n_classes)
    for label in range(n_classes):
        confusion.count(label, predicted, truth == label)
    return confusion


def test_a_table_made_by_hand() -> None:
    confusion = counted(TRUTH, PREDICTED)
    assert confusion.table.tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert confusion.named.tolist() == [2, 2, 2]
    assert [confusion.score(label) for label in range(3)] == [Score(2, 0, 1), Score(1, 1, 1), Score(1, 1, 0)]


def test_figures() -> None:
    score = Score(right=6, extra=2, missed=4)
    assert (score.dice, score.precision, score.recall) == (12 / 18, 6 / 8, 6 / 10)
    nowhere = Score(0, 0, 0)
    assert (nowhere.dice, nowhere.precision, nowhere.recall) == (None, None, None)
    missed = Score(0, 0, 3)
    assert (missed.dice, missed.precision, missed.recall) == (0.0, None, 0.0)
    made_up = Score(0, 3, 0)
    assert (made_up.dice, made_up.precision, made_up.recall) == (0.0, 0.0, None)


def test_only_what_is_known_counts() -> None:
    confusion = Confusion.empty(3)
    known = np.array([[True, False, True, True, True, False]])
    confusion.count(0, PREDICTED, TRUTH == 0, known)
    confusion.count(2, PREDICTED, TRUTH == 2, known)
    assert confusion.table.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert confusion.score(0) == Score(1, 0, 1)
    assert confusion.score(1) == Score(0, 0, 0)
    assert confusion.score(2) == Score(0, 1, 0)


def test_counts_are_added() -> None:
    other = counted(TRUTH, TRUTH)
    both = total([counted(TRUTH, PREDICTED), other])
    assert both.table.tolist() == [[5, 1, 0], [0, 3, 1], [0, 0, 2]]
    assert both.named.tolist() == [5, 4, 3]
    assert other.named.tolist() == [3, 2, 1]
    with pytest.raises(ValueError, match="nothing"):
        total([])


def test_shares_of_the_rows() -> None:
    confusion = counted(np.array([[0, 0, 0, 0]]), np.array([[0, 0, 0, 2]]))
    shares = confusion.shares()
    assert shares[0].tolist() == [0.75, 0.0, 0.25]
    assert np.isnan(shares[1:]).all()


def test_shapes_and_classes_that_cannot_be() -> None:
    confusion = Confusion.empty(2)
    with pytest.raises(ValueError, match="shape"):
        confusion.count(0, np.zeros((1, 4), np.uint8), np.ones((3, 4), bool))
    with pytest.raises(ValueError, match="shape"):
        confusion.count(0, np.zeros(4, np.uint8), np.ones(4, bool), np.ones(1, bool))
    with pytest.raises(ValueError, match="class 2 was named"):
        confusion.count(0, np.array([[2]]), np.array([[True]]))
