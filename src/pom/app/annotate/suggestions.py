"""Where to look next: places that would teach the networks most, each with a picture and the reason."""

from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from nicegui import ui

from pom.app.annotate.shared import Progress, Shape

if TYPE_CHECKING:
    from pom.app.annotate.page import AnnotatePage
    from pom.workflow.where_to_look import Suggestion

MOST = 12
PICTURE = 92
"""Side of a preview on the screen, in pixels."""
SURROUNDINGS = 1.6
"""How much of the tomogram a preview shows, in sides of a box."""


class SuggestionsPanel:
    """A list that is made on demand, since the networks are asked for it."""

    def __init__(self, page: "AnnotatePage") -> None:
        self._page = page
        self._work = page.shared.places
        self._shown: object = None
        ui.label("Where to look next").classes("pom-section")
        ui.label(
            "Where the networks are unsure or contradict each other, and in tomograms unlike those annotated."
        ).classes("pom-muted pom-small")
        with ui.row().classes("items-center gap-2"):
            self._button = ui.button("Find places", on_click=self._find).props("dense outline")
            self._state = ui.label().classes("pom-muted pom-small pom-number").props("role=status")
        self._list = ui.element("div").classes("pom-suggestions").props('role=list aria-label="Where to look next"')
        self.look()

    async def _find(self) -> None:
        project, shape = self._page.project, self._page.sessions.shape

        def find(progress: Progress) -> "list[tuple[Suggestion, Shape]]":
            from pom.networks.devices import choose_devices
            from pom.workflow.where_to_look import suggest

            devices = choose_devices(None, project.configuration.GPUS)
            found = suggest(project, devices, most=MOST, progress=progress)
            return [(suggestion, shape(suggestion.tomogram)) for suggestion in found]

        self._work.begin(find)
        self.look()
        await self._page.reported(self._work.wait())
        self.look()

    def look(self) -> None:
        """Shows how far the search is, whichever page began it, and what was found; called every second."""
        work = self._work
        self._button.set_enabled(not work.running)
        if work.running:
            self._state.text = f"{work.done} of {work.total} tomograms looked at" if work.total else "Looking …"
            return
        if work.result is not self._shown:
            self._shown = work.result
            self._show(work.result or [])
        self._state.text = "There is nothing to suggest." if work.result == [] else ""

    def _show(self, found: "list[tuple[Suggestion, Shape]]") -> None:
        self._list.clear()
        with self._list:
            for suggestion, shape in found:
                self._row(suggestion, shape)

    def _row(self, suggestion: "Suggestion", shape: Shape) -> None:
        page = self._page
        with ui.element("div").props("role=listitem"), ui.element("button").classes("pom-suggestion") as row:
            at = (suggestion.x, suggestion.y)
            row.on("click", partial(page.act, page.show_tomogram, suggestion.tomogram, suggestion.z, at))
            _picture(page, suggestion, shape)
            with ui.element("div").classes("pom-row-title"):
                ui.label(f"{suggestion.tomogram}, z {suggestion.z}")
                ui.label(suggestion.reason).classes("pom-muted pom-small pom-reason")


def _picture(page: "AnnotatePage", suggestion: "Suggestion", shape: Shape) -> None:
    """A part of the slice and the box that is suggested in it; y upwards, as on the canvas."""
    _, height, width = shape
    box = page.project.configuration.ontology_annotation_box_size
    shown = SURROUNDINGS * box
    scale = PICTURE / shown
    x0, y0 = first_shown(suggestion.x, width, shown), first_shown(suggestion.y, height, shown)

    def place(left: float, top: float, width: float, height: float) -> str:
        lengths = {"left": left - x0, "top": top - y0, "width": width, "height": height}
        return "; ".join(f"{name}: {length * scale:.1f}px" for name, length in lengths.items())

    with ui.element("div").classes("pom-preview").style(f"width: {PICTURE}px; height: {PICTURE}px"):
        source = f"/api/tomograms/{quote(suggestion.tomogram, safe='')}/slices/{suggestion.z}"
        ui.element("img").props(f'loading=lazy alt="" src="{source}"').style(place(0, 0, width, height))
        ui.element("div").style(place(suggestion.x - box / 2, suggestion.y - box / 2, box, box))


def first_shown(middle: float, length: int, shown: float) -> float:
    """Where a preview of ``shown`` pixels begins: ``middle`` in its middle, or less so where the slice ends."""
    if length < shown:
        return (length - shown) / 2
    return min(max(middle - shown / 2, 0.0), length - shown)
