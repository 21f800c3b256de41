import numpy as np
import pytest
from numpy.typing import NDArray

from pom.io.channels import NetworkInput
from pom.io.scns import Feature
from pom.sampling.boxes import PatchCutter, tiles_of
from pom.sampling.sections import Section, annotated_sections
from pom.volumes.binning import bin_mean

SHAPE = (6, 41, 53)
Binning = tuple[int, int, int]


def made(boxes: dict[int, list[tuple[float, float]]], box_size: int = 12, seed: int = 0) -> Feature:
    drawn = (np.random.default_rng(seed).random((6, *SHAPE[1:])) > 0.5).astype(np.uint8)
    return Feature("A", box_size, boxes, {z: drawn[z] for z in (1, 2, 3)})


def expected(feature: Feature, z: int, binning: Binning) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Drawn and boxed, from pixel by pixel of the tomogram, for boxes that do not touch."""
    rows, columns = np.indices(SHAPE[1:])
    boxed = np.zeros(SHAPE[1:], np.bool_)
    for x, y in feature.boxes[z]:
        left, top = np.floor(x - feature.box_size / 2), np.floor(y - feature.box_size / 2)
        boxed |= (
            (rows >= top) & (rows < top + feature.box_size) & (columns >= left) & (columns < left + feature.box_size)
        )
    whole = bin_mean(boxed, binning[1:]) == 1
    drawn = feature.slices.get(z, np.zeros(SHAPE[1:], np.uint8))
    return (bin_mean(drawn, binning[1:]) >= 0.5) & whole, whole


@pytest.mark.parametrize("binning", [(1, 1, 1), (2, 2, 2), (1, 3, 4)])
def test_sections_are_what_is_drawn_and_boxed_pixel_by_pixel(binning: Binning) -> None:
    feature = made({3: [(20, 20), (45.5, 30)], 1: [(7, 11)], 4: [(0, 0), (52, 40)]})
    sections = list(annotated_sections([feature], SHAPE, binning))
    assert [section.z for section in sections] == [1, 3, 4]
    for section in sections:
        drawn, boxed = expected(feature, section.z, binning)
        np.testing.assert_array_equal(section.boxed, boxed)
        np.testing.assert_array_equal(section.drawn, drawn)
    assert sections[0].drawn.any()
    assert not sections[2].drawn.any()  # boxed, but nothing was drawn


@pytest.mark.parametrize("centre", [(20, 20), (21.5, 19), (3, 40), (52, 0)])
def test_sections_count_the_pixels_that_patches_have(centre: tuple[float, float]) -> None:
    binning = (2, 2, 2)
    feature = made({2: [centre]})
    seen = NetworkInput(np.zeros((1, 3, 21, 27), np.float32), SHAPE, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    (tile,) = tiles_of(feature, 12, binning)
    patch = PatchCutter(seen, binning, 12, feature).cut(tile)
    (section,) = annotated_sections([feature], SHAPE, binning)
    assert patch is not None
    assert section.boxed.sum() == patch.boxed.sum()
    np.testing.assert_array_equal(section.drawn[section.boxed], patch.drawn[patch.boxed])


def test_boxes_that_overlap_count_once() -> None:
    (section,) = annotated_sections([made({2: [(20, 20), (24, 20), (20, 20)]})], SHAPE, (2, 2, 2))
    assert section.boxed.sum() == 6 * 8


def test_a_large_box_is_one() -> None:
    (section,) = annotated_sections([made({2: [(20, 20)]}, box_size=31)], SHAPE, (2, 2, 2))
    assert section.boxed.sum() == 15 * 15


def test_two_features_of_one_title_are_one_ontology() -> None:
    first = Feature("A", 4, {2: [(10, 10)]}, {2: np.ones(SHAPE[1:], np.uint8)})
    second = Feature("A", 4, {2: [(20, 10)], 0: [(20, 10)]}, {})
    top, middle = annotated_sections([first, second], SHAPE, (1, 1, 1))
    assert (top.z, top.boxed.sum(), top.drawn.sum()) == (0, 16, 0)
    assert (middle.z, middle.boxed.sum(), middle.drawn.sum()) == (2, 32, 16)


def test_nothing_comes_of_boxes_outside_or_too_small() -> None:
    outside = made({-1: [(20, 20)], 6: [(20, 20)], 2: [(-20, 20), (20, 200)]})
    assert list(annotated_sections([outside, made({3: [(20, 20)]}, box_size=1)], SHAPE, (2, 2, 2))) == []
    assert list[Section](annotated_sections([], SHAPE, (2, 2, 2))) == []
