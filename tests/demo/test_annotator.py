"""The annotations: sparse, right wherever a box is, and with true negatives."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pom.demo.annotator import DRAWN_BOXES, EMPTY_BOXES, FEWEST_PIXELS, annotate
from pom.demo.phantom import ONTOLOGIES
from pom.io.scns import Feature

SIDE = 32


@pytest.fixture(scope="module")
def labels() -> NDArray[np.uint8]:
    """Stripes of ontologies 1 to 3 along x; 4 in a corner of a few slices; 5 and 6 nowhere; 0 elsewhere."""
    labels = np.zeros((20, 90, 131), np.uint8)
    labels[:, :, :40], labels[:, :, 40:80], labels[:, 60:, 80:] = 1, 2, 3
    labels[5:9, :20, 110:] = 4
    return labels


@pytest.fixture(scope="module")
def features(labels: NDArray[np.uint8]) -> tuple[Feature, ...]:
    return annotate(np.random.default_rng(0), labels, SIDE)


def areas(feature: Feature) -> list[tuple[int, slice, slice]]:
    half = SIDE // 2
    return [
        (z, slice(int(y) - half, int(y) + half), slice(int(x) - half, int(x) + half))
        for z, centres in feature.boxes.items()
        for x, y in centres
    ]


def test_each_ontology_that_occurs_is_annotated(features: tuple[Feature, ...]) -> None:
    assert [feature.title for feature in features] == list(ONTOLOGIES[:4])
    assert all(feature.box_size == SIDE for feature in features)


def test_boxes_lie_within_the_slices(features: tuple[Feature, ...], labels: NDArray[np.uint8]) -> None:
    for feature in features:
        for area in areas(feature):
            assert 0 <= area[0] < len(labels)
            assert min(area[1].start, area[2].start) >= 0
            assert labels[area].shape == (SIDE, SIDE)


def test_what_is_drawn_is_the_truth_in_the_boxes_and_nothing_elsewhere(
    features: tuple[Feature, ...], labels: NDArray[np.uint8]
) -> None:
    for value, feature in enumerate(features, start=1):
        boxed = np.zeros(labels.shape, bool)
        for area in areas(feature):
            boxed[area] = True
        drawn = np.zeros_like(labels)
        for z, mask in feature.slices.items():
            assert mask.dtype == np.uint8
            drawn[z] = mask
        np.testing.assert_array_equal(drawn, boxed & (labels == value))


def test_drawn_and_empty_boxes(features: tuple[Feature, ...], labels: NDArray[np.uint8]) -> None:
    for value, feature in enumerate(features, start=1):
        pixels = [np.count_nonzero(labels[area] == value) for area in areas(feature)]
        assert len(pixels) == DRAWN_BOXES + EMPTY_BOXES
        assert sum(count >= FEWEST_PIXELS for count in pixels) == DRAWN_BOXES
        assert sum(count == 0 for count in pixels) == EMPTY_BOXES


@pytest.mark.parametrize(("drawn", "empty"), [(1, 0), (3, 1), (12, 4)])
def test_as_many_boxes_as_asked_for(labels: NDArray[np.uint8], drawn: int, empty: int) -> None:
    for value, feature in enumerate(annotate(np.random.default_rng(1), labels, SIDE, drawn, empty), start=1):
        pixels = [np.count_nonzero(labels[area] == value) for area in areas(feature)]
        assert sum(count >= FEWEST_PIXELS for count in pixels) == drawn
        assert sum(count == 0 for count in pixels) == empty


def test_no_empty_array_is_stored(features: tuple[Feature, ...]) -> None:
    assert all(mask.any() for feature in features for mask in feature.slices.values())


def test_same_seed_same_boxes(features: tuple[Feature, ...], labels: NDArray[np.uint8]) -> None:
    again = annotate(np.random.default_rng(0), labels, SIDE)
    assert [feature.boxes for feature in again] == [feature.boxes for feature in features]


def test_a_box_larger_than_the_slice_is_refused(labels: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="128 pixels does not fit"):
        annotate(np.random.default_rng(0), labels, 128)
