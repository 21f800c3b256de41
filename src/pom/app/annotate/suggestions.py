"""Where to look next: places that would teach the networks most, each with a picture and the reason."""

from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from nicegui import ui

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
        self._done, self._total = 0, 0
        ui.label("Where to look next").classes("pom-section")
        ui.label(
            "Where the networks are unsure or contradict each other, and in tomograms unlike those annotated."
        ).classes("pom-muted pom-small")
        with ui.row().classes("items-center gap-2"):
            self._button = ui.button("Find places", on_click=self._find).props("dense outline")
            self._state = ui.label().classes("pom-muted pom-small pom-number").props("role=status")
        self._list = ui.element("div").classes("pom-suggestions").props('role=list aria-label="Where to look next"')
        self._show(page.sessions.suggestions)

    async def _find(self) -> None:
        self._button.disable()
        self._done = self._total = 0
        timer = ui.timer(0.5, self._tell)
        try:
            found = await self._page.attempt(self._suggest)
        finally:
            timer.delete()
            self._button.enable()
            self._state.text = ""
        if found is not None:
            self._page.sessions.suggestions = found
            self._show(found)
            if not found:
                self._state.text = "There is nothing to suggest."

    def _suggest(self) -> "list[Suggestion]":
        from pom.networks.devices import choose_devices
        from pom.workflow.where_to_look import suggest

        project = self._page.project
        devices = choose_devices(None, project.configuration.GPUS)
        return suggest(project, devices, most=MOST, progress=self._progressed)

    def _progressed(self, done: int, total: int) -> None:
        self._done, self._total = done, total

    def _tell(self) -> None:
        self._state.text = f"{self._done} of {self._total} tomograms looked at" if self._total else "Looking …"

    def _show(self, suggestions: "list[Suggestion]") -> None:
        self._list.clear()
        with self._list:
            for suggestion in suggestions:
                self._row(suggestion)

    def _row(self, suggestion: "Suggestion") -> None:
        page = self._page
        with ui.element("div").props("role=listitem"), ui.element("button").classes("pom-suggestion") as row:
            at = (suggestion.x, suggestion.y)
            row.on("click", partial(page.act, page.show_tomogram, suggestion.tomogram, suggestion.z, at))
            _picture(page, suggestion)
            with ui.element("div").classes("pom-row-title"):
                ui.label(f"{suggestion.tomogram}, z {suggestion.z}")
                ui.label(suggestion.reason).classes("pom-muted pom-small pom-reason")


def _picture(page: "AnnotatePage", suggestion: "Suggestion") -> None:
    """A part of the slice, the place in its middle; y upwards, as on the canvas."""
    _, height, width = page.sessions.shape(suggestion.tomogram)
    scale = PICTURE / (SURROUNDINGS * page.project.configuration.ontology_annotation_box_size)
    left, top = PICTURE / 2 - suggestion.x * scale, PICTURE / 2 - suggestion.y * scale
    with ui.element("div").classes("pom-preview").style(f"width: {PICTURE}px; height: {PICTURE}px"):
        source = f"/api/tomograms/{quote(suggestion.tomogram, safe='')}/slices/{suggestion.z}"
        image = ui.element("img").props(f'loading=lazy alt="" src="{source}"')
        image.style(
            f"left: {left:.1f}px; top: {top:.1f}px; width: {width * scale:.1f}px; height: {height * scale:.1f}px"
        )
