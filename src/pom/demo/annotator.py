"""The person who annotates the phantom cell: sparse, but right wherever a box says that it is complete."""

import numpy as np
from numpy.typing import NDArray

from pom.demo.phantom import ONTOLOGIES
from pom.io.scns import Feature

Box = tuple[int, int, int]  # its slice and its centre, (z, x, y) in pixels

DRAWN_BOXES = 5
EMPTY_BOXES = 2
FEWEST_PIXELS = 50  # drawn in a box that is not meant to be empty
OFF_CENTRE = 0.35  # of a box's side: objects lie anywhere in their boxes
ATTEMPTS = 20


def annotate(
    rng: np.random.Generator,
    labels: NDArray[np.uint8],
    side: int,
    drawn_boxes: int = DRAWN_BOXES,
    empty_boxes: int = EMPTY_BOXES,
) -> tuple[Feature, ...]:
    """Annotates each ontology that occurs in ``labels`` (z, y, x; k + 1 for ``ONTOLOGIES[k]``) in a few boxes.

    A box is ``side`` pixels wide, lies within its slice, and everything of its ontology inside is drawn. The
    ``drawn_boxes`` are spread over the depth at which the ontology occurs; ``empty_boxes`` more hold nothing of it.
    There are fewer of either where there is no room.

    Raises:
        ValueError: a box does not fit into a slice.
    """
    if side > min(labels.shape[1:]):
        raise ValueError(f"a box of {side} pixels does not fit into slices of {labels.shape[1:]}")
    features = []
    for value, title in enumerate(ONTOLOGIES, start=1):
        mask = labels == value
        if not mask.any():
            continue
        boxes = _boxes_with_pixels(rng, mask, side, drawn_boxes)
        boxes += _boxes_without(rng, labels, value, side, empty_boxes)
        if boxes:
            features.append(_draw(title, mask, boxes, side))
    return tuple(features)


def _boxes_with_pixels(rng: np.random.Generator, mask: NDArray[np.bool_], side: int, number: int) -> list[Box]:
    """Boxes about random pixels of ``mask``, in slices that divide its pixels evenly."""
    filled = np.cumsum(mask.sum(axis=(1, 2)))
    boxes = []
    for part in range(number):
        for _ in range(ATTEMPTS):
            share = (part + rng.random()) / number
            z = int(np.searchsorted(filled, share * filled[-1], side="right"))
            y, x = rng.choice(np.argwhere(mask[z])) + rng.uniform(-OFF_CENTRE, OFF_CENTRE, 2) * side
            box = _within(mask.shape, side, z, x, y)
            if np.count_nonzero(mask[_area(box, side)]) >= FEWEST_PIXELS:
                boxes.append(box)
                break
    return boxes


def _boxes_without(
    rng: np.random.Generator, labels: NDArray[np.uint8], value: int, side: int, number: int
) -> list[Box]:
    """Boxes without a voxel of ``value``, as far as there is room: true negatives.

    They lie about other things, each in its turn, as a person shows a network what it must not take for its own.
    """
    boxes: list[Box] = []
    for other in np.tile(np.setdiff1d(labels, [value]), ATTEMPTS):
        if len(boxes) == number:
            break
        z = int(rng.integers(len(labels)))
        there = np.argwhere(labels[z] == other)
        if len(there):
            y, x = rng.choice(there)
            box = _within(labels.shape, side, z, x, y)
            if not (labels[_area(box, side)] == value).any():
                boxes.append(box)
    return boxes


def _draw(title: str, mask: NDArray[np.bool_], boxes: list[Box], side: int) -> Feature:
    """Draws what ``boxes`` show of ``mask``; a slice in which nothing is drawn has no array."""
    centres: dict[int, list[tuple[float, float]]] = {}
    slices: dict[int, NDArray[np.uint8]] = {}
    for box in sorted(boxes):
        z, x, y = box
        centres.setdefault(z, []).append((x, y))
        area = _area(box, side)
        if mask[area].any():
            drawn = slices.setdefault(z, np.zeros(mask.shape[1:], np.uint8))
            drawn[area[1:]] = mask[area]
    return Feature(title=title, box_size=side, boxes=centres, slices=slices)


def _within(shape: tuple[int, ...], side: int, z: int, x: float, y: float) -> Box:
    """The box about (x, y), moved into the slice where it would reach over the edge."""
    low, (height, width) = side // 2, shape[1:]
    return z, int(np.clip(x, low, width - side + low)), int(np.clip(y, low, height - side + low))


def _area(box: Box, side: int) -> tuple[int, slice, slice]:
    """The voxels [z, y, x] of a box."""
    z, x, y = box
    top, left = y - side // 2, x - side // 2
    return z, slice(top, top + side), slice(left, left + side)
