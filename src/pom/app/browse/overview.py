"""The overview: what the dataset is made of, what is unusual in it, and how far the processing is."""

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pom.app.browse.browsing import Browsing
from pom.app.browse.figures import decimals, figure, heights, plain, spread, stripes
from pom.app.browse.gallery import picture_address
from pom.app.browse.pages import BROWSE, View
from pom.io.summary_files import VOLUME
from pom.project.names import DENSITY_PICTURES
from pom.workflow.atlas import Query

if TYPE_CHECKING:
    import pandas as pd

    from pom.workflow.status import StepStatus

MOST_UNUSUAL = 10
PICTURE = 160
WIDTH, HEIGHT, GAP = 8.0, 26.0, 1.0
"""Of the bars of a distribution, in pixels."""


def fill_overview(browsing: Browsing, view: View) -> dict[str, Any]:
    """What the overview shows, but for the progress, which takes a while to gather."""
    table = browsing.atlas.table()
    colours, parts = browsing.colours(), browsing.parts()
    means = {feature: _mean(table, feature) for feature in parts}
    return {
        "summarised": len(table) > 0,
        "total": len(table),
        "waiting": len(set(browsing.names()) - set(table.index)),
        "absent": sorted(browsing.absent()),
        "stripes": stripes(means, colours),
        "features": [_feature(view, table, each, colours[each]) for each in browsing.atlas.features()],
        "unusual": [_unusual(browsing, view, name, why) for name, why in browsing.atlas.unusual(MOST_UNUSUAL)],
        "pictures": bool(browsing.kinds()),
    }


def _mean(table: "pd.DataFrame", feature: str) -> float:
    return float(table[feature].mean()) if len(table) else float("nan")


def _feature(view: View, table: "pd.DataFrame", feature: str, colour: str) -> dict[str, Any]:
    """A row: figures over all tomograms, the distribution, and the way to the tomograms with most of it."""
    values = table[feature].to_numpy(dtype=float, na_value=np.nan)
    known = values[np.isfinite(values)]
    n = decimals(values)
    most = Query(sort=feature, descending=True)
    top = str(table[feature].idxmax()) if known.size else ""
    figures = [float(np.mean(known)), float(np.median(known)), float(np.max(known))] if known.size else [np.nan] * 3
    return {
        "title": feature,
        "colour": colour,
        "mean": figure(figures[0], n), "median": figure(figures[1], n), "most": figure(figures[2], n),
        "n_with": _n_with(table, feature),
        "top": top,
        "top_address": view.tomogram(top) if top else "",
        "bars": _bars(view, feature, spread(values)),
        "table": view.address(f"{BROWSE}/table", query=most),
        "gallery": view.address(f"{BROWSE}/gallery", query=most),
    }  # fmt: skip


def _n_with(table: "pd.DataFrame", feature: str) -> int:
    """In how many tomograms a feature is found: where voxels reach its level; by its share where no volume is known."""
    volume = f"{feature}{VOLUME}"
    return int((table[volume if volume in table else feature] > 0).sum())


def _bars(view: View, feature: str, bins: list[tuple[float, float, int]]) -> list[dict[str, Any]]:
    """The distribution, each bar with the way to its tomograms."""
    tall = heights([count for _, _, count in bins], HEIGHT)
    bars = []
    for index, ((low, high, count), height) in enumerate(zip(bins, tall, strict=True)):
        is_last = math.isinf(high)
        query = Query(ranges={feature: (low, None if is_last else high)}, sort=feature, descending=True)
        text = f"{f'≥ {plain(low)}' if is_last else f'{plain(low)} – {plain(high)}'} %: {count:,}"
        seen = max(height, 1.0) if count else 0.0
        bars.append(
            {
                "x": index * WIDTH, "y": HEIGHT - seen, "width": WIDTH - GAP, "height": seen, "text": text,
                "address": view.address(f"{BROWSE}/table", query=query),
            }
        )  # fmt: skip
    return bars


def _unusual(browsing: Browsing, view: View, name: str, why: str) -> dict[str, str]:
    density = browsing.kinds().get(DENSITY_PICTURES)
    source = picture_address(density, name, PICTURE) if density else ""
    return {"name": name, "why": why, "address": view.tomogram(name), "source": source}


def fill_progress(steps: "Sequence[StepStatus]") -> dict[str, Any]:
    """How far each step is that was begun; those with nothing left to do are apart."""
    over = [step for step in steps if step.done == step.total and not step.outdated]
    return {"steps": [_step(step) for step in steps if step not in over], "over": [_step(step) for step in over]}


def _step(step: "StepStatus") -> dict[str, Any]:
    whole = max(step.total, 1)
    parts = [("done", step.done), ("running", len(step.running)), ("failed", len(step.failed))]
    words = [f"{count:,} {word}" for word, count in (*parts, ("waiting", step.waiting)) if count]
    if step.outdated:
        words.append(f"{step.outdated:,} by an older network")
    if step.seconds_to_go:
        words.append(f"ready {time.strftime('%a %H:%M', time.localtime(time.time() + step.seconds_to_go))}")
    return {
        "title": step.step,
        "total": step.total,
        "parts": [(word, f"{100 * count / whole:.1f}") for word, count in parts],
        "text": ", ".join(words) or "nothing to do",
    }
