"""The picture of an evaluation: Dice per ontology, and what was taken for what."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pom.io.atomic import atomic_path
from pom.workflow.evaluation import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE = "#4878a8"
DARK = 60
"""Percent from which on a cell is so dark that its number is white."""


def draw_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Draws a PNG: on the left Dice of all tomograms together and a dot for each, on the right the confusion table."""
    from matplotlib.figure import Figure

    n_classes = len(evaluation.classes)
    side = 1.6 + 0.42 * n_classes
    figure = Figure(figsize=(4.5 + max(side, 4.0), max(side, 3.4) + 0.5), layout="constrained")
    bars, table = figure.subplots(1, 2, width_ratios=(4.5, max(side, 4.0)))
    _draw_dice(bars, evaluation)
    _draw_confusion(table, evaluation)
    judge = "annotation" if evaluation.truth is None else f"the volumes in {evaluation.truth.name}"
    n_tomograms = len(evaluation.tomograms)
    figure.suptitle(f"Judged by {judge}, {n_tomograms} tomogram{'s' if n_tomograms > 1 else ''}")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _draw_dice(axes: "Axes", evaluation: Evaluation) -> None:
    together = evaluation.together().confusion
    places = range(len(evaluation.ontologies))
    dices = [together.score(label).dice for label in places]
    axes.barh(places, [dice or 0.0 for dice in dices], color=BLUE, height=0.7)
    for label, dice in enumerate(dices):
        axes.text(1.03, label, "-" if dice is None else f"{dice:.2f}", va="center", fontsize=8)
    if len(evaluation.tomograms) > 1:
        dots = [
            (dice, label)
            for judged in evaluation.tomograms.values()
            for label in places
            if (dice := judged.confusion.score(label).dice) is not None
        ]
        axes.plot(*np.array(dots or np.empty((0, 2))).T, "o", color="black", markersize=3, alpha=0.6)
    axes.set_yticks(places, [_plain(name) for name in evaluation.ontologies], fontsize=8)
    axes.set_ylim(len(dices) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.set_title("Dice; a dot is a tomogram" if len(evaluation.tomograms) > 1 else "Dice", fontsize=10)


def _draw_confusion(axes: "Axes", evaluation: Evaluation) -> None:
    percent = 100 * evaluation.together().confusion.shares()
    names = [_plain(name) for name in evaluation.classes]
    axes.imshow(np.nan_to_num(percent), cmap="Blues", vmin=0, vmax=100)
    for (row, column), share in np.ndenumerate(percent):
        if share >= 0.5:  # a zero would only hide where there is something
            colour = "white" if share >= DARK else "black"
            axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=7, color=colour)
    nowhere = np.isnan(percent[:, 0])
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    axes.set_yticks(
        range(len(names)), [f"{n} (none)" if none else n for n, none in zip(names, nowhere, strict=True)], fontsize=8
    )
    axes.set_xlabel("named")
    axes.set_ylabel("is" if evaluation.truth is not None else "drawn")
    axes.set_title("Percent of each row", fontsize=10)


def _plain(name: str) -> str:
    """A name as it is: a dollar sign would begin a formula."""
    return name.replace("$", r"\$")
