"""What boxes that overlap, or lie in each other's surroundings, say together."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from pom.errors import PomError
from pom.sampling.partial_labels import allowed_classes
from pom.sampling.patches import PatchSet

SIDE, N_CLASSES = 8, 3
ALL, A, B, REST = 0b111, 0b001, 0b010, 0b100


def patch_set(*corners: tuple[int, int, int]) -> PatchSet:
    """Patches of 8 x 8 pixels; the box is in rows 2 to 5 and columns 2 to 5, drawn in its upper half."""
    n = len(corners)
    boxed = np.zeros((n, SIDE, SIDE), np.bool_)
    boxed[:, 2:6, 2:6] = True
    drawn = boxed.copy()
    drawn[:, 4:] = False
    return PatchSet(
        images=np.zeros((n, 1, SIDE, SIDE), np.float32), drawn=drawn, boxed=boxed, inside=np.ones_like(boxed),
        ontologies=np.array(["A", *"B" * (n - 1)]), tomograms=np.array(["TS_1"] * n),
        centres=np.zeros((n, 3), np.int64), corners=np.array(corners), validation=np.zeros(n, np.bool_),
        preprocessing="{}", pixel_size=1.0,
    )  # fmt: skip


def own(patches: PatchSet) -> NDArray[np.int64]:
    return np.array([int(name == "B") for name in patches.ontologies.tolist()], np.int64)


def test_a_box_alone() -> None:
    patches = patch_set((0, 0, 0))
    expected = np.full((SIDE, SIDE), ALL)
    expected[2:4, 2:6] = A
    expected[4:6, 2:6] = B | REST
    np.testing.assert_array_equal(allowed_classes(patches, own(patches), N_CLASSES)[0], expected)


def test_what_two_boxes_say_holds_in_both_patches() -> None:
    """The second lies two rows below and one column to the left, partly beyond the tomogram's edge."""
    patches = patch_set((5, 0, 0), (5, 2, -1))
    first, second = allowed_classes(patches, own(patches), N_CLASSES)
    assert first[2:4, 2].tolist() == [A, A]
    # Rows 4 and 5: not A by the first box; drawn as B by the second, but for the last column, which it does not reach.
    assert first[4].tolist() == [ALL, B, B, B, B, B | REST, ALL, ALL]
    assert first[6].tolist() == [ALL, A | REST, A | REST, A | REST, A | REST, ALL, ALL, ALL]
    np.testing.assert_array_equal(first[2:, :7], second[:6, 1:])


def test_drawn_as_two_ontologies_it_may_be_either() -> None:
    patches = patch_set((0, 0, 0), (0, 0, 0))
    first, second = allowed_classes(patches, own(patches), N_CLASSES)
    np.testing.assert_array_equal(first, second)
    assert set(first[2:4, 2:6].flat) == {A | B}
    assert set(first[4:6, 2:6].flat) == {REST}


@pytest.mark.parametrize("difference", ["section", "tomogram", "validation", "distance"])
def test_boxes_elsewhere_say_nothing(difference: str) -> None:
    patches = patch_set((0, 0, 0), (1 if difference == "section" else 0, 50 if difference == "distance" else 0, 0))
    if difference == "tomogram":
        patches = replace(patches, tomograms=np.array(["TS_1", "TS_2"]))
    if difference == "validation":
        patches = replace(patches, validation=np.array([False, True]))
    alone = patch_set((0, 0, 0))
    np.testing.assert_array_equal(
        allowed_classes(patches, own(patches), N_CLASSES)[0], allowed_classes(alone, own(alone), N_CLASSES)[0]
    )


def test_too_many_ontologies() -> None:
    patches = patch_set((0, 0, 0))
    assert allowed_classes(patches, own(patches), 64)[0, 0, 0] == 2**64 - 1
    with pytest.raises(PomError, match="knows at most 63 ontologies, and the configuration has 64: use"):
        allowed_classes(patches, own(patches), 65)
