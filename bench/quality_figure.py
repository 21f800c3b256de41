"""The learning curves of bench/quality.py as a picture."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pom.io.atomic import atomic_path
from quality_ways import WAYS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from quality import Run

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""By the order of the ways; colour-blind people can tell them apart."""
MARKERS = "osD^vPX"
TITLES = {"demo": "Demo cells, scored on two other tomograms", "real": "Real sections, scored on others"}


def draw(path: Path, runs: Sequence["Run"]) -> None:
    """Draws Dice against boxes, one panel for each kind of data, into a PNG."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    kinds = [kind for kind in TITLES if any(run.data == kind for run in runs)]
    figure = Figure(figsize=(5.2 * len(kinds) + 0.4, 5.2), layout="constrained")
    for axes, kind in zip(figure.subplots(1, len(kinds), squeeze=False)[0], kinds, strict=True):
        _draw_panel(axes, [run for run in runs if run.data == kind])
        axes.set_title(TITLES[kind])
    ways = [way for way in WAYS if any(run.way == way for run in runs)]
    handles = [Line2D([], [], color=_colour(way), marker=_marker(way), label=way) for way in ways]
    handles.append(Line2D([], [], color="#555555", label="mean of the ontologies"))
    handles.append(Line2D([], [], color="#555555", linestyle="--", label="worst ontology"))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 3 * len(kinds)), frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def _draw_panel(axes: "Axes", runs: Sequence["Run"]) -> None:
    for way in WAYS:
        of_way = [run for run in runs if run.way == way]
        boxes = sorted({run.boxes for run in of_way})
        means = [[run.mean for run in of_way if run.boxes == number] for number in boxes]
        worst = [[run.worst for run in of_way if run.boxes == number] for number in boxes]
        for values, style in ((means, "-"), (worst, "--")):
            spread = [statistics.stdev(each) if len(each) > 1 else 0.0 for each in values]
            axes.errorbar(
                boxes,
                [statistics.fmean(each) for each in values],
                spread,
                color=_colour(way),
                marker=_marker(way),
                markersize=5 if style == "-" else 3,
                linewidth=1.8 if style == "-" else 1.0,
                elinewidth=0.8,
                capsize=2,
                linestyle=style,
            )
    ticks = sorted({run.boxes for run in runs})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [str(number) for number in ticks])
    axes.minorticks_off()
    axes.set_ylim(-0.02, 1.0)
    axes.set_xlabel("boxes per ontology" + (" and tomogram" if runs[0].data == "demo" else ""))
    axes.set_ylabel("Dice")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _colour(way: str) -> str:
    return COLOURS[list(WAYS).index(way) % len(COLOURS)]


def _marker(way: str) -> str:
    return MARKERS[list(WAYS).index(way) % len(MARKERS)]
