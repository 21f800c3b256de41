"""The list of tomograms: which are annotated, and with what."""

import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from nicegui import background_tasks, events, ui

from pom.app.buttons import icon_button
from pom.words import counted, listed
from pom.workflow.annotations import AnnotationSummary, annotated

if TYPE_CHECKING:
    from pom.app.annotate.page import AnnotatePage

ROWS = 100
"""So many tomograms are listed at a time."""
SECONDS_KEPT = 20.0
TELL_NAME = "(event) => { const row = event.target.closest('button'); if (row) emit(row.dataset.name); }"


class TomogramsPanel:
    """All tomograms, those found by a search, or only those with annotation; a hundred at a time."""

    def __init__(self, page: "AnnotatePage") -> None:
        self._page = page
        self._names: list[str] = []
        self._annotated: Collection[str] = set()
        self._summaries: Mapping[str, AnnotationSummary] = {}
        """Of those that are annotated; of some or all of them they are read later."""
        self._loaded = 0.0
        self._first = 0
        self._search = ui.input(placeholder="Search", on_change=self._searched).props(
            'dense outlined clearable debounce=150 aria-label="Search tomograms" autocomplete=off'
        )
        self._search.classes("w-full")
        with ui.row().classes("w-full items-center justify-between pom-list-head"):
            self._only = ui.checkbox("Only annotated", on_change=self._searched).props("dense")
            self._count = ui.label().classes("pom-muted pom-small pom-number")
            icon_button("sym_o_refresh", "Read the folder again", self.read_again)
        self._list = ui.element("div").classes("pom-list").props('role=list aria-label="Tomograms"')
        # Heard here and not by the rows, so that a click on its way to the server outlives its row.
        self._list.on("click", self._clicked, js_handler=TELL_NAME)
        self._rows: dict[str, ui.element] = {}
        self._listed: object = None
        with ui.row().classes("w-full items-center justify-between") as self._pages:
            self._before = ui.button("Before", on_click=lambda: self._turn(-ROWS)).props("flat dense")
            self._range = ui.label().classes("pom-muted pom-small pom-number")
            self._after = ui.button("More", on_click=lambda: self._turn(ROWS)).props("flat dense")

    async def load(self) -> list[str]:
        """Reads which tomograms there are, and which are annotated; returns their names."""
        found = await self._page.attempt(self._read)
        if found is not None:
            self._names, self._annotated = found
            self._loaded = time.monotonic()
        self._show()
        return self._names

    async def fill(self) -> None:
        """Reads what is annotated, which can take a while; all pages that want to know wait for the same reading."""
        project, summaries = self._page.project, self._page.shared.summaries
        summaries.begin(lambda _progress: annotated(project))
        found = await self._page.reported(summaries.wait())
        if found is not None and not self._page.client.is_deleted:
            self._summaries, self._annotated = found, set(found)
            self._show()

    async def read_again(self) -> None:
        """Reads the folder, and then the annotations."""
        await self.load()
        await self.fill()

    def _read(self) -> tuple[list[str], Collection[str]]:
        project = self._page.project
        return project.tomogram_names(), set(project.annotated_names())

    def first(self) -> str:
        """The tomogram to begin with: the first that is annotated, or else the first."""
        return next((name for name in self._names if name in self._annotated), self._names[0])

    async def step(self, step: int) -> None:
        """Shows the next tomogram of the list, or the one before: of the one that is on its way to the page, if any."""
        names, wanted = self._found(), self._page.opening.wanted
        if not names:
            return
        place = names.index(wanted) + step if wanted in names else 0
        if not 0 <= place < len(names):
            ui.notify("This is the last one in the list." if step > 0 else "This is the first one in the list.")
            return
        await self._page.show_tomogram(names[place])

    def refresh_current(self) -> None:
        """Marks the tomogram on the page, on the right hundred of the list."""
        shown = self._page.shown
        names = self._found()
        if shown is not None and shown.name in names:
            self._first = names.index(shown.name) // ROWS * ROWS
        if time.monotonic() - self._loaded > SECONDS_KEPT:
            self._loaded = time.monotonic()  # lest it be begun twice
            background_tasks.create(self.read_again())
        self._show()

    def _searched(self) -> None:
        self._first = 0
        self._show()

    def _turn(self, step: int) -> None:
        self._first += step
        self._show()

    def _found(self) -> list[str]:
        words = (self._search.value or "").casefold().split()
        return [
            name
            for name in self._names
            if all(word in name.casefold() for word in words) and (not self._only.value or name in self._annotated)
        ]

    async def _clicked(self, event: events.GenericEventArguments) -> None:
        if event.args in self._names:
            await self._page.show_tomogram(event.args)

    def _show(self) -> None:
        names = self._found()
        last = max(0, len(names) - 1) // ROWS * ROWS
        self._first = min(self._first, last)  # the list may have become shorter
        self._count.text = f"{len(self._annotated)} of {len(self._names)} annotated"
        rows = names[self._first : self._first + ROWS]
        listed = [(name, name in self._annotated, self._summaries.get(name)) for name in rows]
        if listed != self._listed:
            self._listed, self._rows = listed, {}
            self._list.clear()
            with self._list:
                for name in rows:
                    self._rows[name] = self._row(name)
                if not rows:
                    ui.label(self._nothing()).classes("pom-muted pom-none")
        self._mark_current()
        self._pages.set_visibility(len(names) > ROWS)
        self._range.text = f"{self._first + 1} – {self._first + len(rows)} of {len(names)}"
        self._before.set_enabled(self._first > 0)
        self._after.set_enabled(self._first + ROWS < len(names))

    def _nothing(self) -> str:
        if self._search.value:
            return "No annotated tomogram is called so." if self._only.value else "No tomogram is called so."
        return "No tomogram is annotated yet."

    def _mark_current(self) -> None:
        shown = self._page.shown
        for name, row in self._rows.items():
            current = shown is not None and shown.name == name
            row.classes(add="pom-current" if current else "", remove="" if current else "pom-current")
            row.props(add="aria-current=true" if current else "", remove="" if current else "aria-current")

    def _row(self, name: str) -> ui.element:
        summary = self._summaries.get(name)
        with (
            ui.element("div").props("role=listitem"),
            ui.element("button").classes("pom-row") as row,
        ):
            row.props["data-name"] = name  # not as a text of properties, where quotes have a meaning
            with ui.element("div").classes("pom-row-head"):
                ui.label(name).classes("pom-row-title")
                if summary is not None and not summary.fault:
                    boxes = counted(sum(summary.boxes.values()), "box", "boxes")
                    ui.label(boxes).classes("pom-muted pom-small pom-number")
            if summary is not None:
                what = ui.label(_what(summary)).classes("pom-muted pom-small pom-row-what")
                what.props["title"] = summary.fault or _what(summary)
                if summary.fault:
                    what.classes("pom-warning")
            elif name in self._annotated:
                ui.label("Annotated").classes("pom-muted pom-small pom-row-what")
        return row


def _what(summary: AnnotationSummary) -> str:
    if summary.fault:
        return "Cannot be read"
    return listed([f"{title} {count}" for title, count in summary.boxes.items()]) or "No feature"
