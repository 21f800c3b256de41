"""The table of results: a row a tomogram, a column a feature."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pom.app.browse.browsing import Browsing
from pom.app.browse.figures import decimals, figure, plain, stripes
from pom.app.browse.pages import View
from pom.io.summary_files import COMPONENTS, CONFIDENCE, TOMOGRAM, UNLIKE, UNLIKE_FLAG, VOLUME

if TYPE_CHECKING:
    import pandas as pd

ROWS = 100


@dataclass(frozen=True)
class Measure:
    """What the columns of the features give; ``ending``: of their names in the summary."""

    title: str
    ending: str
    meaning: str


MEASURES = {
    "share": Measure("Share, %", "", "share of the tomogram's volume, in percent"),
    "volume": Measure("Volume, µm³", VOLUME, "volume in cubic micrometres"),
    "components": Measure("Pieces", COMPONENTS, "separate pieces larger than dust"),
    "confidence": Measure("Confidence", CONFIDENCE, "mean output of the network where it says yes"),
}


@dataclass(frozen=True)
class Column:
    """A column as it is shown."""

    name: str
    title: str
    meaning: str
    colour: str
    low: str
    high: str
    address: str
    """Of the same rows sorted by it, or the other way round where they are already."""
    sorted: str
    """``ascending``, ``descending`` or ``none``."""


def measures(browsing: Browsing) -> dict[str, Measure]:
    """Those of which the summary has columns; a summary of the published Pom has the shares only."""
    there = set(browsing.atlas.table().columns)
    features = browsing.atlas.features()
    return {key: each for key, each in MEASURES.items() if any(f"{name}{each.ending}" in there for name in features)}


def fill_table(browsing: Browsing, view: View) -> dict[str, Any]:
    """What the page of the table shows."""
    table = browsing.atlas.table()
    found = browsing.atlas.select(view.query)
    possible = measures(browsing)
    chosen = view.choice("show", possible)
    names, pager = page_of(found, view, ROWS)
    columns = _columns(browsing, view, table, possible[chosen]) if chosen else []
    shared = common(browsing, view, found)
    if all(each.sorted == "none" for each in columns) and view.query.sort not in (None, TOMOGRAM):
        shared["chips"].append(_sorting_chip(view))
    return {
        **shared, "pager": pager, "measures": possible, "chosen": chosen, "columns": columns,
        "by_name": _sorting(view, None), "rows": _rows(browsing, table, names, columns),
    }  # fmt: skip


def common(browsing: Browsing, view: View, found: Sequence[str]) -> dict[str, Any]:
    """What the bar above the table and above the gallery shows."""
    from pom.workflow.subsets import list_subsets

    table = browsing.atlas.table()
    return {
        "total": len(table), "n_found": len(found), "subsets": list_subsets(browsing.project),
        "chips": _chips(view), "dropped": view.dropped, "summarised": len(table) > 0,
        "absent": browsing.absent(), "narrowed": len(found) < len(table),
    }  # fmt: skip


@dataclass(frozen=True)
class Pager:
    """Which of the pages is shown; an address is empty where there is no such page."""

    first: int
    last: int
    total: int
    page: int
    n_pages: int
    before: str
    after: str


def page_of(found: Sequence[str], view: View, size: int) -> tuple[Sequence[str], Pager]:
    """The names on the page that is asked for, or on the one that comes closest."""
    n_pages = max(-(-len(found) // size), 1)
    number = view.page(n_pages)
    start = (number - 1) * size
    names = found[start : start + size]
    before = view.address(view.path, page=number - 1) if number > 1 else ""
    after = view.address(view.path, page=number + 1) if number < n_pages else ""
    return names, Pager(min(start + 1, len(found)), start + len(names), len(found), number, n_pages, before, after)


def _columns(browsing: Browsing, view: View, table: "pd.DataFrame", measure: Measure) -> list[Column]:
    colours = browsing.colours()
    wanted = [(f"{each}{measure.ending}", each, measure.meaning, colours[each]) for each in browsing.atlas.features()]
    wanted.append((UNLIKE, UNLIKE, "how unlike the training data it is; above 1 is unusual", ""))
    columns = []
    for name, title, meaning, colour in wanted:
        if name in table.columns:
            address, order = _sorting(view, name)
            low, high = _ends(*view.query.ranges.get(name, (None, None)))
            columns.append(Column(name, title, meaning, colour, low, high, address, order))
    return columns


def _sorting(view: View, column: str | None) -> tuple[str, str]:
    """The address that sorts by a column (None: by name) or turns it round, and how the rows are sorted by it now."""
    query = view.query
    here = (query.sort or TOMOGRAM) == (column or TOMOGRAM)
    # Whoever sorts by a figure looks for the largest ones.
    turned = not query.descending if here else column is not None
    address = view.address(view.path, query=replace(query, sort=column, descending=turned))
    return address, ("descending" if query.descending else "ascending") if here else "none"


def _rows(
    browsing: Browsing, table: "pd.DataFrame", names: Sequence[str], columns: Sequence[Column]
) -> list[dict[str, Any]]:
    values = table.reindex(columns=[column.name for column in columns]).to_numpy(dtype=float, na_value=np.nan)
    tops = [float(np.nanmax(each)) if np.isfinite(each).any() else 0.0 for each in values.T]
    places = [decimals(each) for each in values.T]
    row_of = {name: row for row, name in enumerate(table.index)}
    shown = values[[row_of[name] for name in names]]
    wholes, unlike = composition(browsing, table, names), flagged(table)
    return [
        {
            "name": name,
            "stripes": wholes[name],
            "unlike": name in unlike,
            "cells": [(figure(value, n), _share(value, top)) for value, n, top in zip(row, places, tops, strict=True)],
        }
        for name, row in zip(names, shown, strict=True)
    ]


def _share(value: float, top: float) -> str:
    """How much of the largest value of a column a value is, in whole percent."""
    return f"{100 * max(value, 0.0) / top:.0f}" if top > 0 and np.isfinite(value) else "0"


def composition(browsing: Browsing, table: "pd.DataFrame", names: Sequence[str]) -> dict[str, str]:
    """The bar of what each of some tomograms is made of, as a CSS background."""
    parts, colours = list(browsing.parts()), browsing.colours()
    values = table.loc[list(names), parts].to_numpy(dtype=float, na_value=np.nan)
    return {name: stripes(dict(zip(parts, row, strict=True)), colours) for name, row in zip(names, values, strict=True)}


def flagged(table: "pd.DataFrame") -> frozenset[str]:
    """The tomograms that are unlike the training data."""
    if UNLIKE_FLAG not in table.columns:
        return frozenset()
    return frozenset(table.index[table[UNLIKE_FLAG].fillna(False)])


@dataclass(frozen=True)
class Chip:
    """Something that narrows the rows: a short text, and the address without it. A range has its column and ends."""

    text: str
    address: str
    column: str = ""
    low: str = ""
    high: str = ""


def _chips(view: View) -> list[Chip]:
    """What narrows the rows."""
    query, chips = view.query, []
    for column, (low, high) in query.ranges.items():
        others = {name: ends for name, ends in query.ranges.items() if name != column}
        address = view.address(view.path, query=replace(query, ranges=others))
        chips.append(Chip(_range_text(column, low, high), address, column, *_ends(low, high)))
    if query.subset:
        address = view.address(view.path, query=replace(query, subset=None))
        chips.append(Chip(f"in {query.subset}", address))
    return chips


def _sorting_chip(view: View) -> Chip:
    """Tells that the rows are sorted by a column that is not shown."""
    address = view.address(view.path, query=replace(view.query, sort=None, descending=False))
    return Chip(f"sorted by {view.query.sort} {'↓' if view.query.descending else '↑'}", address)


def _ends(low: float | None, high: float | None) -> tuple[str, str]:
    return "" if low is None else plain(low), "" if high is None else plain(high)


def _range_text(column: str, low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"{column} {plain(low)} – {plain(high)}"
    return f"{column} ≥ {plain(low)}" if low is not None else f"{column} ≤ {plain(high or 0.0)}"


def json_page(browsing: Browsing, view: View) -> Mapping[str, Any]:
    """A page of the table with all columns, for programs; an unknown figure is None."""
    table = browsing.atlas.table()
    found = browsing.atlas.select(view.query)
    names, pager = page_of(found, view, ROWS)
    rows = table.loc[list(names)]
    values = rows.astype(object).where(rows.notna(), None).to_dict("records")
    return {
        "total": pager.total, "page": pager.page, "pages": pager.n_pages, "dropped": view.dropped,
        "columns": list(table.columns),
        "rows": [{TOMOGRAM: name, **row} for name, row in zip(names, values, strict=True)],
    }  # fmt: skip


def csv_text(browsing: Browsing, view: View) -> str:
    """All tomograms of the query, all columns, as CSV."""
    return browsing.atlas.table().loc[browsing.atlas.select(view.query)].to_csv(index_label=TOMOGRAM)
