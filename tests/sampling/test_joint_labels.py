import numpy as np
import pytest
from numpy.typing import NDArray

from pom.sampling.joint_labels import THRESHOLDS, choose_threshold, joint_labels

SIDE = 24
UNKNOWN = 2


def label(
    first: NDArray[np.float64] | float = 0.0,
    second: NDArray[np.float64] | float = 0.0,
    own: int = 0,
    drawn: NDArray[np.bool_] | None = None,
    boxed: NDArray[np.bool_] | None = None,
    threshold: float = 0.33,
) -> NDArray[np.uint8]:
    """The labels of one patch with two ontologies."""
    scores = np.zeros((1, 2, SIDE, SIDE), np.float32)
    scores[0, 0], scores[0, 1] = first, second
    nowhere = np.zeros((SIDE, SIDE), np.bool_)
    masks = [nowhere if mask is None else mask for mask in (drawn, boxed)]
    labels: NDArray[np.uint8] = joint_labels(scores, np.array([own]), masks[0][None], masks[1][None], threshold)[0]
    return labels


def columns(start: int, stop: int) -> NDArray[np.bool_]:
    return np.broadcast_to((np.arange(SIDE) >= start) & (np.arange(SIDE) < stop), (SIDE, SIDE)).copy()


def test_the_highest_network_labels() -> None:
    labels = label(first=np.where(columns(0, 12), 0.9, 0.1), second=np.where(columns(12, SIDE), 0.8, 0.2))
    assert (labels[:, :12] == 0).all()
    assert (labels[:, 12:] == 1).all()


@pytest.mark.parametrize(
    ("score", "threshold", "expected"), [(0.32, 0.33, 2), (0.34, 0.33, 0), (0.5, 0.9, 2), (0, 0, 0)]
)
def test_below_the_threshold_is_unknown(score: float, threshold: float, expected: int) -> None:
    assert (label(first=score, second=0.5 * score, threshold=threshold) == expected).all()


@pytest.mark.parametrize("own", [0, 1])
def test_what_a_person_drew_overrules_the_networks(own: int) -> None:
    drawn, box = columns(8, 16), columns(4, 20)
    scores = {"first": 0.0, "second": 0.99} if own == 0 else {"first": 0.99, "second": 0.0}
    labels = label(**scores, own=own, drawn=drawn, boxed=box)
    np.testing.assert_array_equal(labels, np.where(drawn, own, 1 - own))


def test_a_single_drawn_pixel_survives_the_smoothing() -> None:
    drawn = np.zeros((SIDE, SIDE), np.bool_)
    drawn[12, 12] = True
    labels = label(second=1.0, drawn=drawn, boxed=columns(0, SIDE))
    np.testing.assert_array_equal(labels == 0, drawn)


def test_a_boxed_pixel_that_was_not_drawn_is_never_its_own_ontology() -> None:
    """Whatever the networks say; without a runner-up it is Unknown."""
    random = np.random.default_rng(0)
    for _ in range(20):
        first, second = random.random((2, SIDE, SIDE))
        drawn, boxed = random.random((2, SIDE, SIDE)) < 0.5
        labels = label(first=first, second=second, drawn=drawn, boxed=boxed)
        assert not (labels[boxed & ~drawn] == 0).any()
        assert (labels[boxed & drawn] == 0).all()
    assert (label(first=1.0, boxed=columns(0, SIDE)) == UNKNOWN).all()


def test_outside_the_box_drawing_says_nothing() -> None:
    assert (label(second=0.9, drawn=columns(0, SIDE)) == 1).all()


def test_lone_pixels_are_smoothed_away_and_large_regions_stay() -> None:
    scores = np.full((SIDE, SIDE), 0.0)
    scores[4, 4] = 1.0
    scores[12:20, 12:20] = 1.0
    labels = label(first=scores, second=0.4)
    assert labels[4, 4] == 1
    assert (labels[14:18, 14:18] == 0).all()
    assert (labels[:8] == 1).all()


def test_every_patch_for_itself() -> None:
    scores = np.zeros((3, 2, SIDE, SIDE), np.float32)
    scores[1, 1] = 0.9
    nothing = np.zeros((3, SIDE, SIDE), np.bool_)
    drawn, boxed = nothing.copy(), nothing.copy()
    drawn[2] = boxed[2] = True
    labels = joint_labels(scores, np.array([0, 0, 1]), drawn, boxed, 0.33)
    assert labels.dtype == np.uint8
    assert [np.unique(patch).tolist() for patch in labels] == [[2], [1], [1]]


def test_the_probabilities_are_left_as_they_were() -> None:
    scores = np.full((1, 2, SIDE, SIDE), 0.5, np.float32)
    everywhere = np.ones((1, SIDE, SIDE), np.bool_)
    joint_labels(scores, np.array([0]), everywhere, everywhere, 0.33)
    assert (scores == 0.5).all()


def choose(
    first: NDArray[np.floating], second: NDArray[np.floating], own: list[int], drawn: NDArray[np.bool_]
) -> tuple[float, dict[float, float]]:
    """Of patches with two ontologies, known everywhere; every argument is (n, y, x), ``own`` (n,)."""
    scores = np.stack([first, second], axis=1).astype(np.float32)
    return choose_threshold(scores, np.array(own, np.intp), drawn, np.ones(drawn.shape, np.bool_))


def test_the_threshold_is_the_one_that_names_what_was_drawn() -> None:
    """The network says 0.72 where something is drawn, and 0.47 where nothing is."""
    drawn = columns(4, 12)[None]
    scores = np.where(drawn, 0.72, 0.47)
    threshold, dices = choose(scores, 0.1 + 0 * scores, [0], drawn)
    assert list(dices) == THRESHOLDS.tolist()
    assert {value for limit, value in dices.items() if 0.47 < limit <= 0.7} == {1.0}
    assert dices[0.75] == 0.0
    assert dices[0.3] == pytest.approx(2 * 8 / (24 + 8), abs=1e-3)
    # All from 0.5 to 0.7 are as good: the one nearest to 0.33.
    assert threshold == 0.5


def test_another_ontology_that_is_likelier_is_not_named_whatever_the_threshold() -> None:
    drawn = columns(0, 12)[None]
    threshold, dices = choose(np.where(drawn, 0.4, 0.9), np.where(drawn, 0.2, 0.95), [0], drawn)
    assert dices[0.05] == dices[0.4] == 1.0
    assert dices[0.45] == 0.0
    assert threshold == 0.35


def test_ontologies_count_alike_and_empty_boxes_count_too() -> None:
    """One asks for a low threshold; the other, with more pixels and an empty box, for a high one."""
    narrow, wide, none = columns(0, 2), columns(0, 20), columns(0, 0)
    drawn = np.stack([narrow, wide, none])
    first = np.stack([np.where(narrow, 0.4, 0.0), 0.0 * narrow, 0.0 * narrow])
    second = np.stack([0.0 * wide, np.where(wide, 0.9, 0.0), np.full(wide.shape, 0.3)])
    threshold, dices = choose(first, second, [0, 1, 1], drawn)
    assert dices[0.35] == 1.0
    assert dices[0.3] == pytest.approx((1.0 + 2 * 20 / (20 + 20 + 24)) / 2, abs=1e-3)
    assert dices[0.45] == 0.5
    assert threshold == 0.35


def test_without_anything_drawn_the_usual_threshold_holds() -> None:
    nothing = np.zeros((2, SIDE, SIDE), np.bool_)
    assert choose(0.5 + nothing, 0.2 + nothing, [0, 1], nothing) == (0.33, {})
    assert choose(0.5 + nothing[:0], 0.2 + nothing[:0], [], nothing[:0]) == (0.33, {})
