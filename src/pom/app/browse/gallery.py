"""The gallery: a picture a tomogram, of one kind at a time."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from pom.app.browse.browsing import Browsing
from pom.app.browse.kinds import Kind
from pom.app.browse.pages import View
from pom.app.browse.table import common, composition, flagged, page_of
from pom.app.browse.thumbnails import picture_tag
from pom.project.names import name_fault

PICTURES = "/api/pictures"


@dataclass(frozen=True)
class Size:
    """How large the pictures are: their side on the screen, that of the file, and how many are on a page."""

    title: str
    width: int
    pixels: int
    count: int


SIZES = {
    "medium": Size("Medium", 190, 320, 60),
    "small": Size("Small", 118, 160, 120),
    "large": Size("Large", 390, 640, 24),
}


def fill_gallery(browsing: Browsing, view: View) -> dict[str, Any]:
    """What the page of the gallery shows."""
    table = browsing.atlas.table()
    found = browsing.atlas.select(view.query)
    kinds = browsing.kinds()
    chosen = view.choice("kind", kinds)
    size = view.choice("size", SIZES)
    names, pager = page_of(found, view, SIZES[size].count)
    wholes, unlike = composition(browsing, table, names), flagged(table)
    cards = [
        {
            "name": name, "stripes": wholes[name], "unlike": name in unlike,
            "source": picture_address(kinds[chosen], name, SIZES[size].pixels) if chosen else "",
        }
        for name in names
    ]  # fmt: skip
    return {
        **common(browsing, view, found), "pager": pager, "kinds": kinds, "kind": chosen, "sizes": SIZES, "size": size,
        "cards": cards, "rendered": any(not each.upright for each in kinds.values()), "sort": view.query.sort or "",
        "sortable": list(table.columns), "descending": view.query.descending,
    }  # fmt: skip


def picture_address(kind: Kind, name: str, size: int) -> str:
    """The address of a picture with the given longest side in pixels; empty where there is none."""
    # A name comes from the summary's file, and must not lead out of the folder of pictures.
    tag = picture_tag(kind.path(name)) if name_fault(name) is None else None
    return f"{PICTURES}/{quote(kind.id, safe='')}/{quote(name, safe='')}?size={size}&v={tag}" if tag else ""
