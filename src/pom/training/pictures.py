"""What a person looks at after a training: the curves, and what went in, was annotated, and came out."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pom.io.atomic import atomic_path
from pom.io.checkpoints import Calibration, ReliabilityBin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
    _save(figure, path, dpi=120)


def draw_losses(path: Path, title: str, history: Sequence[dict[str, float]]) -> None:
    """Draws the losses of a training without ontologies over its epochs into a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.5), layout="constrained")
    error = "mean absolute error, hidden pixels"
    _curves(figure.subplots(), history, {"loss": "training", "validation_loss": "held-out tomograms"}, error)
    figure.suptitle(title)
    _save(figure, path, dpi=120)


def draw_filled_in(
    path: Path,
    title: str,
    whole: NDArray[np.float32],
    hidden: NDArray[np.bool_],
    filled_in: NDArray[np.float32],
    names: Sequence[str],
) -> None:
    """Draws crops into a PNG, each as three images: as it is, with what was hidden in black, and filled in.

    Args:
        path: of the PNG.
        title: above all.
        whole: (n, y, x), shown in grey.
        hidden: (n, y, x), what the network did not see.
        filled_in: (n, y, x), the same with the network's answer where it did not.
        names: (n,), above each crop.
    """
    from matplotlib.figure import Figure

    columns = 2
    rows = max(1, -(-len(whole) // columns))
    figure = Figure(figsize=(6.6 * columns, 2.3 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, 3 * columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for place, name in enumerate(names):
        row, column = divmod(place, columns)
        left, middle, right = axes[row, 3 * column : 3 * column + 3]
        left.imshow(_grey(whole[place]), origin="lower")
        left.set_title(name, fontsize=7, loc="left")
        middle.imshow(_paint(_grey(whole[place]), hidden[place], (0.0, 0.0, 0.0), 1.0), origin="lower")
        right.imshow(_grey(filled_in[place], like=whole[place]), origin="lower")
    figure.suptitle(title, fontsize=10)
    _save(figure, path, dpi=110)


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
    _save(figure, path, dpi=110)


def draw_reliability(path: Path, title: str, calibration: Calibration) -> None:
    """Draws into a PNG what share of the pixels was drawn, against how likely the network said that was.

    On the diagonal a probability can be taken at its word; below it the network is too sure of what it finds.
    Bars tell how many pixels there are.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 6.2), layout="constrained")
    shares, counts = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    shares.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    _reliability(shares, calibration.bins_before, f"as trained (error {calibration.ece_before:.3f})", "tab:orange")
    label = f"temperature {calibration.temperature:.2f} (error {calibration.ece:.3f})"
    _reliability(shares, calibration.bins, label, "tab:blue")
    shares.set_ylabel("share of pixels that was drawn")
    shares.set_ylim(-0.02, 1.02)
    shares.grid(alpha=0.3)
    shares.legend(fontsize=8, loc="upper left")
    pixels = [part.pixels for part in calibration.bins]
    counts.bar([part.probability for part in calibration.bins], pixels, width=0.03, color="tab:blue")
    counts.set_yscale("log")
    counts.set_ylabel("pixels")
    counts.set_xlabel("probability of the box's ontology")
    counts.set_xlim(-0.02, 1.02)
    figure.suptitle(f"{title}: probabilities in held-out boxes", fontsize=11)
    _save(figure, path, dpi=120)


def _reliability(axes: "Axes", bins: Sequence[ReliabilityBin], label: str, colour: str) -> None:
    points = [(part.probability, part.drawn) for part in bins]
    axes.plot(*zip(*points, strict=True), marker="o", markersize=4, label=label, color=colour)


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


def _grey(image: NDArray[np.float32], like: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    low, high = np.percentile(image if like is None else like, [1, 99])
    grey = np.clip((image - low) / max(high - low, 1e-6), 0, 1)
    return np.repeat(grey[:, :, None], 3, axis=2).astype(np.float32)


def _paint(
    picture: NDArray[np.float32], mask: NDArray[np.bool_], colour: tuple[float, float, float], alpha: float = 0.55
) -> NDArray[np.float32]:
    painted = picture.copy()
    painted[mask] = (1 - alpha) * painted[mask] + alpha * np.array(colour, np.float32)
    return painted


def _save(figure: "Figure", path: Path, dpi: int) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=dpi)
