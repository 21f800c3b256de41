"""The page of one tomogram: its slices, its surfaces, what is in it, what is like it, and where that comes from."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse

from pom.app.browse.browsing import Browsing
from pom.app.browse.figures import decimals, figure, stripes
from pom.app.browse.gallery import picture_address
from pom.app.browse.kinds import SIDE
from pom.app.browse.meshes import box_of, mesh_address
from pom.app.browse.pages import BROWSE, TOMOGRAM, LostError, View, Way, page
from pom.app.frame import address_of
from pom.errors import PomError
from pom.io.checkpoints import read_card
from pom.io.summary_files import COMPONENTS, CONFIDENCE, UNLIKE, VOLUME
from pom.jobs.ledger import Ledger, Record
from pom.project.names import UNKNOWN, nearest
from pom.project.paths import SHARED_STEP, Project
from pom.words import listed
from pom.workflow.atlas import Query
from pom.workflow.feature_volumes import feature_file, known_features
from pom.workflow.subsets import list_subsets, subset_names

MOST_SIMILAR = 8
SHOWN_AT_FIRST = 3
"""So many surfaces: the most abundant ones."""
MOST_FILLED = 20.0
"""In percent of the volume; what fills more would hide what lies in it and behind it."""
SMALL, LARGE = 160, 320
"""Sides of pictures, in pixels."""


def tomogram_routes(router: APIRouter, browsing: Browsing) -> None:
    """Adds the page /browse/tomogram/NAME."""

    @router.get(f"{TOMOGRAM}/{{name}}")
    def tomogram(name: str, request: Request) -> HTMLResponse:
        return page(browsing, request, "tomogram.html", lambda now, view: fill_tomogram(now, view, name))


def fill_tomogram(browsing: Browsing, view: View, name: str) -> dict[str, Any]:
    """What the page of a tomogram shows.

    Raises:
        LostError: the project has none of that name.
    """
    if not browsing.knows(name):
        closest = nearest(name, browsing.known())
        meant = [Way(f"Did you mean {closest}?", view.tomogram(closest))] if closest else []
        all_there_are = Way("All tomograms", view.address(f"{BROWSE}/table", query=Query()))
        raise LostError(f"There is no tomogram {name!r} in this project.", [*meant, all_there_are])
    table = browsing.atlas.table()
    colours, settings = browsing.colours(), browsing.project.configuration
    shares = {part: _value(browsing, name, part) for part in browsing.parts()}
    return {
        "title": name, "name": name, "summarised": name in table.index, "here": name in browsing.names(),
        "absent": name in browsing.absent(),
        "place": place_in_query(browsing, view, name),
        "features": feature_rows(browsing, name), "segmented": _is_segmented(browsing.project, name),
        "stripes": stripes(shares, colours),
        "pictures": _pictures(browsing, name), "similar": _similar(browsing, view, name),
        "record": record_lines(browsing.project, name), "unlike": _unlike(browsing, name),
        "subsets": _subsets(browsing, view, name), "titles": list_subsets(browsing.project),
        "pitch": settings.camera_pitch, "yaw": settings.camera_yaw, "box": box_of(browsing.project, name),
        "annotate": address_of(name), "dropped": view.dropped,
    }  # fmt: skip


def _is_segmented(project: Project, name: str) -> bool:
    return any(feature_file(project, name, output) is not None for output in (*project.ontologies, UNKNOWN))


@dataclass(frozen=True)
class Place:
    """Where a tomogram stands among those that the query finds.

    ``number``: from 1; 0 where the query does not find it. Addresses are empty where there is no such tomogram.
    """

    number: int
    total: int
    before: str
    after: str
    table: str
    narrowed: bool


def place_in_query(browsing: Browsing, view: View, name: str) -> Place:
    """Where a tomogram stands among those that the query finds; where nothing is summarised, among those there are."""
    found: Sequence[str] = browsing.atlas.select(view.query)
    if not len(browsing.atlas.table()):
        found = browsing.names()
    number = found.index(name) + 1 if name in found else 0
    before = view.tomogram(found[number - 2]) if number > 1 else ""
    after = view.tomogram(found[number]) if 0 < number < len(found) else ""
    narrowed = bool(view.query.text or view.query.ranges or view.query.subset)
    return Place(number, len(found), before, after, view.address(f"{BROWSE}/table"), narrowed)


@dataclass(frozen=True)
class FeatureRow:
    """A feature as the page lists it. ``layer``: of which id; ``mesh``: the address, empty where there is none."""

    title: str
    colour: str
    level: int
    share: str
    width: str
    """Of its bar, in percent of the largest share."""
    more: str
    layer: str
    mesh: str
    shown: bool


def feature_rows(browsing: Browsing, name: str) -> list[FeatureRow]:
    """The features of the project and of its summary: first the ontologies, and of them the most abundant."""
    project, library = browsing.project, browsing.library()
    colours = browsing.colours()
    titles = list(dict.fromkeys((*known_features(project), *browsing.atlas.features())))
    shares = {title: _value(browsing, name, title) for title in titles}
    parts = {*project.ontologies, UNKNOWN, *browsing.parts()}
    titles.sort(key=lambda title: (title not in parts, -np.nan_to_num(shares[title], nan=-1.0)))
    most = max((share for share in shares.values() if np.isfinite(share)), default=0.0)
    n_decimals = decimals(np.array(list(shares.values())))
    at_first = _at_first(browsing, name, titles)
    rows = []
    for title in titles:
        preset = library.get(title)
        share = shares[title]
        kind = "output" if title in parts else "macromolecule"
        rows.append(
            FeatureRow(
                title=title, colour=preset.hex_colour if preset else colours[title],
                level=preset.level if preset else 128,
                share=figure(share, n_decimals),
                width=f"{100 * share / most:.1f}" if most > 0 and np.isfinite(share) else "0",
                more=_more(browsing, name, title), layer=f"{kind}-{title}",
                mesh=mesh_address(project, name, preset) if preset else "", shown=title in at_first,
            )
        )  # fmt: skip
    return rows


def _at_first(browsing: Browsing, name: str, titles: Sequence[str]) -> set[str]:
    """The features whose surfaces are shown at first: the most abundant that do not fill the volume.

    Unknown and what is hidden are none of them. Where each fills too much, it is the one that fills least.
    """
    library, project = browsing.library(), browsing.project
    ranked = browsing.atlas.ranked(name, {UNKNOWN}) or [title for title in titles if title != UNKNOWN]
    there = [
        title
        for title in ranked
        if (preset := library.get(title)) and not preset.hide and feature_file(project, name, title)
    ]
    # A share that is not known keeps nothing back.
    loose = [title for title in there if not _value(browsing, name, title) > MOST_FILLED]
    return set(loose[:SHOWN_AT_FIRST] or there[-1:])


def _more(browsing: Browsing, name: str, title: str) -> str:
    """What else is known of a feature, in words."""
    parts = (
        (_value(browsing, name, f"{title}{VOLUME}"), "{:.3g} µm³"),
        (_value(browsing, name, f"{title}{COMPONENTS}"), "{:,.0f} pieces"),
        (_value(browsing, name, f"{title}{CONFIDENCE}"), "confidence {:.2f}"),
    )
    return ", ".join(words.format(value) for value, words in parts if np.isfinite(value))


def _value(browsing: Browsing, name: str, column: str) -> float:
    """A figure of the summary; NaN where there is none."""
    table = browsing.atlas.table()
    if column not in table.columns or name not in table.index:
        return float("nan")
    value = table.at[name, column]
    return float(value) if value is not None else float("nan")  # type: ignore[arg-type]


def _unlike(browsing: Browsing, name: str) -> str:
    score = _value(browsing, name, UNLIKE)
    said = f"Unlike the training data: {score:.2f}, where 1 is the limit. Look at its result with care."
    return said if score > 1 else ""


def _pictures(browsing: Browsing, name: str) -> list[dict[str, str]]:
    found = []
    # Those from the side are flat, and would leave gaps between the others.
    for kind in sorted(browsing.kinds().values(), key=lambda kind: kind.id.endswith(SIDE)):
        small = picture_address(kind, name, LARGE)
        if small:
            whole = picture_address(kind, name, 0)
            found.append({"title": kind.title, "id": kind.id, "small": small, "whole": whole})
    return found


def _similar(browsing: Browsing, view: View, name: str) -> list[dict[str, Any]]:
    """The tomograms of the most similar composition, each with a picture and the bar of what it is made of."""
    colours, parts = browsing.colours(), browsing.parts()
    found = browsing.atlas.similar(name, MOST_SIMILAR)
    sources = _alike(browsing, view, [other for other, _ in found])
    similar = []
    for other, distance in found:
        shares = {part: _value(browsing, other, part) for part in parts}
        similar.append(
            {
                "name": other, "distance": f"{distance:.2f}", "address": view.tomogram(other),
                "source": sources.get(other, ""), "stripes": stripes(shares, colours),
            }
        )  # fmt: skip
    return similar


def _alike(browsing: Browsing, view: View, names: Sequence[str]) -> dict[str, str]:
    """Addresses of pictures of one kind: of the chosen one, or, if others have more pictures of these, of another."""
    kinds = browsing.kinds()
    chosen = view.choice("kind", kinds)
    order = sorted(kinds.values(), key=lambda kind: kind.id != chosen)
    best: dict[str, str] = {}
    for kind in order:
        found = {name: address for name in names if (address := picture_address(kind, name, SMALL))}
        best = max(best, found, key=len)
        if len(best) == len(names):
            break
    return best


def _subsets(browsing: Browsing, view: View, name: str) -> list[tuple[str, str]]:
    """The subsets that a tomogram is in, each with the address of its table."""
    found = []
    for title in list_subsets(browsing.project):
        try:
            members = subset_names(browsing.project, title)
        except PomError:  # the page of the subsets says it
            continue
        if name in members:
            found.append((title, view.address(f"{BROWSE}/table", query=Query(subset=title))))
    return found


def record_lines(project: Project, name: str) -> list[tuple[str, str]]:
    """Where a tomogram's segmentation comes from, as headings and words; empty where nothing is recorded."""
    record = Ledger(project.jobs(SHARED_STEP), project.records(SHARED_STEP)).record(name)
    if record is not None:
        return _record_lines(record, _network_words(project, record))
    lines = []
    for ontology in project.ontologies:
        step = project.single_step(ontology, test=False)
        single = Ledger(project.jobs(step), project.records(step)).record(name)
        if single is not None:
            lines.append((f"{ontology}, by its own network", f"{_when(single)} on {single.host}"))
    return lines


def _network_words(project: Project, record: Record) -> str:
    short = f"joint network {record.network[:8]}"
    try:
        card = read_card(project.joint_network)
    except PomError:
        card = None
    if card is None:
        return f"{short}, which is not here any more"
    if card.weights_sha256 != record.network:
        return f"{short}, older than the one that is here now"
    return f"{short}, trained {card.created[:16].replace('T', ' ')}"


def _record_lines(record: Record, network: str) -> list[tuple[str, str]]:
    lines = [
        ("Network", network),
        ("Made", f"{_when(record)}, in {_duration(record.seconds)}"),
        ("On", f"{record.host}, {record.device}"),
        ("Pom", record.version),
        ("Of", listed([f"{PurePath(file.file).name} ({_size(file.bytes)})" for file in record.inputs.values()])),
    ]
    if record.unlike is not None:
        lines.append(("Unlike", f"{record.unlike:.2f} (what is above 1 is unlike the training data)"))
    return [(heading, words) for heading, words in lines if words]


def _when(record: Record) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(record.finished))


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"
