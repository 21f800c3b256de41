"""What a person looks at after a training: the curves, and what went in, was annotated, and came out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pom.io.atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_PATCHES = 12
COLUMNS = 3
"""Patches side by side; each takes three images."""
RED, GREEN, YELLOW = (0.9, 0.2, 0.2), (0.2, 0.8, 0.3), (1.0, 0.85, 0.1)


def draw_curves(path: Path, title: str, history: Sequence[dict[str, float]]) -> None:
    """Draws loss and validation Dice over the epochs into a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    losses, dices = figure.subplots(1, 2)
    _curves(losses, history, {"loss": "training", "validation_loss": "validation"}, "loss")
    names = [name for name in history[-1] if name.startswith("dice ")] if history else []
    labels = {name: name.removeprefix("dice ") for name in names}
    _curves(dices, history, labels, "validation Dice")
    dices.set_ylim(0, 1)
    figure.suptitle(title)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def draw_montage(
    path: Path,
    title: str,
    images: NDArray[np.float32],
    drawn: NDArray[np.bool_],
    known: NDArray[np.bool_],
    predicted: NDArray[np.bool_],
    names: Sequence[str],
) -> None:
    """Draws patches into a PNG, each as three images: input, annotation, network.

    In the third, green is right, red is extra and yellow is missed; outside the box, where nobody said what is
    right, the network's answer is white.

    Args:
        path: of the PNG.
        title: above all.
        images: (n, y, x), shown in grey.
        drawn: (n, y, x), annotated.
        known: (n, y, x), within the box.
        predicted: (n, y, x), the network's answer.
        names: (n,), above each patch.
    """
    from matplotlib.figure import Figure

    shown = min(len(images), MOST_PATCHES)
    rows = max(1, -(-shown // COLUMNS))
    figure = Figure(figsize=(4.8 * COLUMNS, 1.8 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, 3 * COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    # Those with something drawn first: they say most.
    order = np.argsort(-drawn[:, :, :].any(axis=(1, 2)).astype(int), kind="stable")[:shown]
    for place, index in enumerate(order):
        row, column = divmod(place, COLUMNS)
        left, middle, right = axes[row, 3 * column : 3 * column + 3]
        grey = _grey(images[index])
        right_pixels = drawn[index] & known[index]
        left.imshow(grey, origin="lower")
        left.set_title(names[index], fontsize=7, loc="left")
        middle.imshow(_paint(_paint(grey, ~known[index], (0.0, 0.0, 0.0), 0.5), right_pixels, GREEN), origin="lower")
        answer = _paint(grey, predicted[index] & ~known[index], (1.0, 1.0, 1.0), 0.35)
        answer = _paint(answer, predicted[index] & right_pixels, GREEN)
        answer = _paint(answer, predicted[index] & known[index] & ~drawn[index], RED)
        answer = _paint(answer, ~predicted[index] & right_pixels, YELLOW)
        right.imshow(answer, origin="lower")
    figure.suptitle(f"{title}: input, annotation, network (green right, red extra, yellow missed)", fontsize=10)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def _curves(axes: "Axes", history: Sequence[dict[str, float]], labels: dict[str, str], quantity: str) -> None:
    for name, label in labels.items():
        points = [(row["epoch"], row[name]) for row in history if name in row]
        if points:
            axes.plot(*zip(*points, strict=True), label=label)
    axes.set_xlabel("epoch")
    axes.set_ylabel(quantity)
    axes.grid(alpha=0.3)
    if labels:
        axes.legend(fontsize=7)


def _grey(image: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = np.percentile(image, [1, 99])
    grey = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    return np.repeat(grey[:, :, None], 3, axis=2).astype(np.float32)


def _paint(
    picture: NDArray[np.float32], mask: NDArray[np.bool_], colour: tuple[float, float, float], alpha: float = 0.55
) -> NDArray[np.float32]:
    painted = picture.copy()
    painted[mask] = (1 - alpha) * painted[mask] + alpha * np.array(colour, np.float32)
    return painted
