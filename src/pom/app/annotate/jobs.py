"""Training from the page: 'single initialize' and 'single train' as jobs that go on without it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from nicegui import ui

from pom.app.buttons import attribute, with_tip
from pom.errors import PomError
from pom.io.checkpoints import CARD_FILE, read_card
from pom.io.stamps import FileStamp, file_stamp
from pom.jobs.background import BackgroundJobs, Job, JobReport, State
from pom.jobs.claims import Holder
from pom.project.paths import Project
from pom.workflow.alone import SAMPLING, at_work, refusal, training

if TYPE_CHECKING:
    from pom.app.annotate.page import AnnotatePage

SECONDS_BETWEEN_LOOKS = 2.0
MOST_SHOWN = 6
SAID = {
    State.RUNNING: "running",
    State.DONE: "done",
    State.FAILED: "failed",
    State.STOPPED: "stopped",
    State.LOST: "ended without a word: it was killed, or the machine went down",
}
INITIALIZE = ("single", "initialize")

Figures = Mapping[str, float]


class JobsPanel:
    """What can be started, what runs, and how good the networks are."""

    def __init__(self, page: "AnnotatePage") -> None:
        self._page = page
        self._jobs = BackgroundJobs(page.project.background_jobs, page.project.folder)
        self._reports: dict[str, _JobRow] = {}
        self._running: set[tuple[str, ...]] = set()
        self._project = page.project
        """As the page shows it."""
        ui.label("Train").classes("pom-section")
        ui.label("Boxes become training patches; then each ontology gets a network of its own.").classes(
            "pom-muted pom-small"
        )
        self._initialize = ui.button("Read the annotations", on_click=lambda: self._start(INITIALIZE))
        with_tip(self._initialize.props("dense outline"), "pom single initialize")
        self._ontologies = ui.element("div").classes("pom-networks").props('role=list aria-label="Networks"')
        self._list = ui.element("div").classes("pom-jobs").props('role=list aria-label="Jobs"')
        self._rows: dict[str, _OntologyRow] = {}
        self._known: dict[str, tuple[FileStamp, Figures | None]] = {}
        """Of the networks' cards, which are read again only where they have changed."""
        ui.timer(SECONDS_BETWEEN_LOOKS, self.look)

    async def look(self) -> None:
        """Shows how the jobs stand now; called every two seconds."""
        try:
            reports, trained, busy = await asyncio.to_thread(self._read)
        except PomError as error:
            self._ontologies.clear()
            self._rows = {}
            with self._ontologies:
                ui.label(str(error)).classes("pom-warning pom-small")
            return
        self._show_ontologies(trained, busy)
        if self._page.project is not self._project:  # somebody has changed the configuration
            self._project = self._page.project
            self._page.refresh()
        self._running = {report.job.command for report in reports if report.state is State.RUNNING}
        self._initialize.set_enabled(INITIALIZE not in self._running)
        for ontology, row in self._rows.items():
            row.button.set_enabled(_training(ontology) not in self._running)
        self._show_jobs(reports[:MOST_SHOWN])
        await self._page.read_layers()

    def _read(self) -> tuple[list[JobReport], dict[str, Figures | None], Mapping[str, Holder]]:
        project = self._page.sessions.current.read_again()
        figures = {ontology: self._figures(project, ontology) for ontology in project.ontologies}
        return self._jobs.reports(), figures, at_work(project)

    def _figures(self, project: Project, ontology: str) -> Figures | None:
        stamp, known = file_stamp(project.single_network(ontology) / CARD_FILE), self._known.get(ontology)
        if known is None or known[0] != stamp:
            known = self._known[ontology] = stamp, _figures(project, ontology)
        return known[1]

    def _show_ontologies(self, trained: Mapping[str, Figures | None], busy: Mapping[str, Holder]) -> None:
        if list(trained) != list(self._rows) or not trained:
            self._ontologies.clear()
            start = partial(self._page.act, self._start)
            with self._ontologies:
                self._rows = {ontology: _OntologyRow(ontology, start) for ontology in trained}
                if not trained:
                    ui.label("The configuration lists no ontologies yet: add them from the features.").classes(
                        "pom-muted"
                    )
        for ontology, figures in trained.items():
            holder = busy.get(training(ontology))
            trained_now = "" if holder is None else f"; process {holder.pid} on {holder.host} is training it"
            self._rows[ontology].figures.text = _said(figures) + trained_now

    def _show_jobs(self, reports: Sequence[JobReport]) -> None:
        for gone in self._reports.keys() - {report.job.id for report in reports}:
            self._reports.pop(gone).element.delete()
        for place, report in enumerate(reports):
            if report.job.id not in self._reports:
                with self._list:
                    row = self._reports[report.job.id] = _JobRow(report, partial(self._page.act, self._stop))
                    row.element.move(target_index=place)
            self._reports[report.job.id].show(report)

    async def _start(self, command: Sequence[str]) -> None:
        if await self._page.attempt(self._begin, command) is not None:
            await self.look()

    def _begin(self, command: Sequence[str]) -> Job:
        """Starts a command, unless one that was begun in a terminal, say, does the same."""
        work = SAMPLING if tuple(command) == INITIALIZE else training(command[-1])
        holder = at_work(self._page.project).get(work)
        if holder is not None:
            raise PomError(refusal(work, holder))
        return self._jobs.start(command)

    async def _stop(self, identifier: str) -> None:
        await self._page.attempt(self._jobs.stop, identifier)
        await self.look()


class _OntologyRow:
    """One ontology: how good its network is, and the button that trains it."""

    def __init__(self, ontology: str, start: Callable[[Sequence[str]], Awaitable[None]]) -> None:
        with ui.element("div").classes("pom-network").props("role=listitem"):
            with ui.element("div").classes("pom-row-title"):
                ui.label(ontology)
                self.figures = ui.label().classes("pom-muted pom-small pom-number")
            self.button = ui.button("Train", on_click=partial(start, _training(ontology)))
            self.button.props(f'dense outline aria-label="Train {attribute(ontology)}"')
            with_tip(self.button, f"pom single train -o {ontology}")


class _JobRow:
    """One job: its command, its state, how far it is, and its last lines."""

    def __init__(self, report: JobReport, stop: Callable[[str], Awaitable[None]]) -> None:
        with ui.element("div").classes("pom-job").props("role=listitem") as self.element:
            with ui.element("div").classes("pom-job-head"):
                ui.label(f"pom {' '.join(report.job.command)}").classes("pom-row-title")
                self._state = ui.label().classes("pom-small pom-number")
                self._stop = ui.button("Stop", on_click=partial(stop, report.job.id)).props("dense outline")
                with_tip(self._stop, "Training keeps its state: the same button goes on from the last epoch")
            self._bar = ui.linear_progress(0.0, show_value=False).props("size=3px").classes("pom-job-bar")
            self._last = ui.label().classes("pom-muted pom-small pom-job-last")
            with ui.expansion("Last lines").props("dense").classes("pom-job-lines"):
                self._lines = ui.label().classes("pom-small pom-lines")

    def show(self, report: JobReport) -> None:
        """Brings the row up to date."""
        running = report.state is State.RUNNING
        seconds = (report.job.finished or time.time()) - report.job.started
        took = "" if report.state is State.LOST else f", {_duration(seconds)}"
        self._state.text = SAID[report.state] + took
        bad = report.state in (State.FAILED, State.LOST)
        self._state.classes(add="pom-warning" if bad else "pom-muted", remove="pom-muted" if bad else "pom-warning")
        self._stop.set_visibility(running)
        self._bar.set_visibility(running)
        self._bar.value = report.done / report.total if report.total else 0.0
        self._last.text = report.reason or (report.lines[-1] if report.lines and (running or bad) else "")
        self._lines.text = "\n".join(report.lines)


def _training(ontology: str) -> tuple[str, ...]:
    return ("single", "train", "-o", ontology)


def _figures(project: Project, ontology: str) -> Figures | None:
    """What the card of an ontology's network says of its validation; None where there is no network."""
    folder = project.single_network(ontology)
    if not (folder / CARD_FILE).exists():
        return None
    try:
        card = read_card(folder)
    except PomError:
        return None
    return None if card is None else card.validation.get(ontology, {})


def _said(figures: Figures | None) -> str:
    if figures is None:
        return "no network yet"
    known = [(name, figures[key]) for key, name in _FIGURES if key in figures]
    return ", ".join(f"{name} {value:.2f}" for name, value in known) or "trained; nothing was held out to validate it"


_FIGURES = (("dice", "Dice"), ("precision", "precision"), ("recall", "recall"))


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
