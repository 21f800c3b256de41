"""The page on which a person annotates: the canvas in the middle, tools on its left, one panel on its right."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from nicegui import background_tasks, events, ui

from pom.app.annotate.address_bar import AddressBar
from pom.app.annotate.canvas import CanvasProps, CanvasTomogram, SliceCanvas
from pom.app.annotate.document import annotated_slices
from pom.app.annotate.editing import Editing
from pom.app.annotate.features import FeaturesPanel
from pom.app.annotate.jobs import JobsPanel
from pom.app.annotate.library import LibraryPanel
from pom.app.annotate.looking import Shown, View, canvas_props
from pom.app.annotate.opening import Opened, Opening, Place
from pom.app.annotate.session import Session, Sessions
from pom.app.annotate.shared import Shared
from pom.app.annotate.suggestions import SuggestionsPanel
from pom.app.annotate.tomograms import TomogramsPanel
from pom.app.annotate.tools import ImagePanel, ToolOptions, ToolStrip
from pom.app.buttons import icon_button
from pom.app.frame import PLACES, frame
from pom.app.slices.layers import layers_of
from pom.errors import PomError
from pom.io.annotation_store import StoredFeature
from pom.io.palette import PALETTE
from pom.project.paths import Project

log = logging.getLogger(__name__)

Result = TypeVar("Result")

LOOKS_AT = "pom-looks-at"
"""Under which the canvas keeps, in the tab, what is only looked at."""
SECONDS_TO_ANSWER = 10.0
SECONDS_TO_STAY = 1.0
"""Whoever looks at a tomogram for so long is not just passing by: the networks are prepared for it."""
NO_TOMOGRAMS = "There is no tomogram in {folder}: put some there, named NAME.mrc, and load this page again."


class AnnotatePage:
    """What the panels of one page share: the tomogram, how it is looked at, and the canvas."""

    def __init__(self, sessions: Sessions, shared: Shared, tab: str, address: str) -> None:
        self.sessions, self.shared = sessions, shared
        self.client = ui.context.client
        self.view = View()
        self.shown: Shown | None = None
        self.opening = Opening(self, tab, address)
        self.editing = Editing(self)
        self._to_activate = ""
        """A feature that is to be drawn as soon as the page knows it."""

    @property
    def project(self) -> Project:
        """As it is now: the configuration can change while the page is open."""
        return self.sessions.project

    @property
    def session(self) -> Session | None:
        """By which the tomogram on the page is annotated; None before there is one."""
        return self.editing.session

    @property
    def may_edit(self) -> bool:
        """Whether this page may change the annotation."""
        return self.editing.may_edit

    def features(self) -> tuple[StoredFeature, ...]:
        """The features of the tomogram on the page, as they were read last."""
        return self.editing.known.features

    def active(self) -> StoredFeature | None:
        """The feature that is drawn."""
        return next((feature for feature in self.features() if feature.id == self.view.active), None)

    # Building

    def build(self, header: ui.element) -> None:
        """Makes all elements; which tomogram they show comes later."""
        ui.add_css((Path(__file__).parent / "page.css").read_text(encoding="utf-8"))
        with header, ui.element("div").classes("pom-tomogram"):
            self._step_button("sym_o_chevron_left", "Previous tomogram", -1)
            self._title = ui.label().classes("pom-tomogram-name").props("role=heading aria-level=1")
            self._step_button("sym_o_chevron_right", "Next tomogram", 1)
        with ui.element("main").classes("pom-main pom-annotate"):
            self.strip = ToolStrip(self)
            with ui.element("div").classes("pom-middle"):
                self.options = ToolOptions(self)
                self.editing.build()
                self._stage = ui.element("div").classes("pom-stage-room")
            self._build_panel()
        self._address_bar = AddressBar(lambda: None if self.shown is None else (self.shown.name, self.view.z))

    def _step_button(self, icon: str, label: str, step: int) -> None:
        icon_button(icon, label, lambda: self.tomograms.step(step))

    def _build_panel(self) -> None:
        with ui.element("aside").classes("pom-panel").props('aria-label="Panel"'):
            with ui.tabs().props("dense no-caps inline-label").classes("pom-tabs") as tabs:
                names = ("Features", "Image", "Tomograms", "Network", "Library")
                made = {name: ui.tab(name) for name in names}
            with ui.tab_panels(tabs, value=made["Features"]).props("keep-alive").classes("pom-tab-panels"):
                with ui.tab_panel(made["Features"]):
                    self.features_panel = FeaturesPanel(self)
                with ui.tab_panel(made["Image"]):
                    self.image = ImagePanel(self)
                with ui.tab_panel(made["Tomograms"]):
                    self.tomograms = TomogramsPanel(self)
                with ui.tab_panel(made["Network"]):
                    self.jobs = JobsPanel(self)
                    self.suggestions = SuggestionsPanel(self)
                with ui.tab_panel(made["Library"]):
                    self.library = LibraryPanel(self)

    # Which tomogram and slice

    async def show_tomogram(self, name: str, z: int | None = None, at: Place | None = None) -> None:
        """Opens another tomogram in this page, in its middle slice unless ``z`` is given."""
        await self.opening.show(name, z, at)

    def show_opened(self, opened: Opened, z: int | None, at: Place | None) -> None:
        """Shows a tomogram that was just opened."""
        shown = self.shown = opened.shown
        self.editing.begin(opened.session, opened.known)
        n_slices = shown.shape[0]
        self.view.z = n_slices // 2 if z is None else min(max(z, 0), n_slices - 1)
        self.view.hidden, self.view.opacity = set(), {}
        self.view.active = self._to_activate = ""
        self._title.text = shown.name
        self.features_panel.clear()
        self._choose_active()
        self.make_canvas()
        if at is not None and z is not None:
            self.go_to(z, at)
        self.refresh()
        self.image.refresh()
        self.tomograms.refresh_current()
        self._address_bar.show()
        self._prepare_networks()

    def show_none(self, reason: str) -> None:
        """Says in the place of the first tomogram why it is not there."""
        self._stage.clear()
        with self._stage, ui.element("div").classes("pom-nothing"):
            ui.label(reason)
            ui.label("Choose another one in the tab 'Tomograms'.").classes("pom-muted")

    def make_canvas(self) -> None:
        """A canvas of its own for each tomogram: nothing of the one before can be drawn into this one."""
        self._stage.clear()
        with self._stage:
            shown, session = self._open_now()
            tomogram: CanvasTomogram = {
                "name": shown.name,
                "shape": list(shown.shape),
                "voxel_size_nm": shown.voxel_size,
                "tag": shown.tag,
            }
            self.canvas = SliceCanvas(tomogram=tomogram, session=session.id, z=self.view.z)
            self.canvas.show(**self._props())
        handlers: dict[str, Callable[[events.GenericEventArguments], Any]] = {
            "z": self._on_z,
            "tool": self._on_tool,
            "brush": self._on_brush,
            "active": self._on_active,
            "saving": self._on_saving,
            "contrast": self._on_contrast,
            "wanted": lambda event: self.show_tomogram(str(event.args)),
            "undo_depth": lambda event: self.strip.show_undo(event.args),
        }
        for name, handler in handlers.items():
            self.canvas.on(name, handler)

    def _open_now(self) -> tuple[Shown, Session]:
        assert self.shown is not None and self.session is not None
        return self.shown, self.session

    async def read_layers(self) -> None:
        """Looks whether what can be laid over the slice has changed, since a network was trained, for instance."""
        shown = self.shown
        if shown is None:
            return
        layers = await self.attempt(layers_of, self.project, shown.name)
        if layers is None or self.shown is not shown or tuple(layers) == shown.layers:
            return
        same = [layer.id for layer in layers] == [layer.id for layer in shown.layers]
        self.shown = replace(shown, layers=tuple(layers))
        self._push_all()
        if not same:
            self.image.refresh()
            self._prepare_networks()

    def _prepare_networks(self) -> None:
        """Has the networks made ready for the tomogram, unless the page shows another one in a moment."""
        shown = self.shown

        async def gone() -> bool:
            return self.shown is None or shown is None or self.shown.name != shown.name or self.client.is_deleted

        async def prepare() -> None:
            await asyncio.sleep(SECONDS_TO_STAY)
            if shown is not None and not await gone():
                await self.shared.pictures.prepare(shown.name, gone)

        background_tasks.create(prepare(), name="prepare networks")

    def ask_canvas(self, method: str) -> None:
        """Calls a method of the canvas, if there is one."""
        if self.shown is not None:
            self.canvas.run_method(method)

    def go_to(self, z: int, at: Place | None = None) -> None:
        """Shows slice ``z``, and the place (x, y) in its middle if one is given."""
        if self.shown is None:
            return
        z = min(max(z, 0), self.shown.shape[0] - 1)
        self.canvas.go_to(z, *(at or (None, None)))
        self.view.z = z
        self._address_bar.show()

    def next_annotated(self, direction: int, feature: StoredFeature | None = None) -> None:
        """Goes to the nearest slice with something of a feature, of any without one, in that direction."""
        features = self.features() if feature is None else (feature,)
        slices = sorted({z for each in features for z in annotated_slices(each)})
        beyond = [z for z in slices if (z - self.view.z) * direction > 0]
        if beyond:
            self.go_to(min(beyond) if direction > 0 else max(beyond))
        elif slices and feature is not None:
            self.go_to(slices[0] if direction > 0 else slices[-1])
        else:
            ui.notify("There is no annotated slice in this direction.")

    # Between the canvas and the panels

    def push(self, **values: Any) -> None:
        """Changes how the page looks at the tomogram, by names of ``View``, and tells the canvas."""
        for name, value in values.items():
            setattr(self.view, name, value)
        self._push_all()

    def _push_all(self) -> None:
        if self.shown is not None:
            self.canvas.show(**self._props())

    def _props(self) -> CanvasProps:
        shown, _ = self._open_now()
        return canvas_props(self.view, self.features(), shown.layers, self.editing.known.version, self.colour_of)

    def colour_of(self, title: str) -> str:
        """The colour of a layer: that of the feature of its title, or of the library's, or one of the palette."""
        for feature in self.features():
            if feature.title == title:
                return feature.colour
        titles = [] if self.shown is None else [layer.title for layer in self.shown.layers]
        return self.library.colour_of(title) or PALETTE[titles.index(title) % len(PALETTE) if title in titles else 0]

    def _on_z(self, event: events.GenericEventArguments) -> None:
        self.view.z = int(event.args)
        self._address_bar.show_soon()

    def _on_tool(self, event: events.GenericEventArguments) -> None:
        self.choose_tool(str(event.args))

    def choose_tool(self, tool: str) -> None:
        """Takes another tool in hand."""
        self.push(tool=tool)
        self.strip.refresh()
        self.options.refresh()

    def _on_brush(self, event: events.GenericEventArguments) -> None:
        self.push(brush=float(event.args))
        self.options.refresh()

    def _on_active(self, event: events.GenericEventArguments) -> None:
        self.activate(str(event.args))

    def activate(self, feature_id: str) -> None:
        """Chooses the feature that is drawn; one that is only just made, as soon as the page knows it."""
        if feature_id not in [feature.id for feature in self.features()]:
            self._to_activate = feature_id
            return
        self._to_activate = ""
        self.push(active=feature_id)
        self.features_panel.refresh()

    def _on_contrast(self, event: events.GenericEventArguments) -> None:
        low, high = int(event.args["low"]), int(event.args["high"])
        self.push(low=low, high=high, inverted=bool(event.args.get("inverted", self.view.inverted)))
        self.image.refresh_contrast()

    def _on_saving(self, event: events.GenericEventArguments) -> None:
        if event.args == "refused":
            self.editing.read_soon()

    # Changes

    async def act(self, action: Callable[..., Awaitable[object] | object], *arguments: Any) -> None:
        """Does what a row of a list was clicked for; not in that row's own place, which may be made anew meanwhile."""
        with self.client:
            result = action(*arguments)
            if isinstance(result, Awaitable):
                await result

    async def attempt(self, action: Callable[..., Result], *arguments: Any, **named: Any) -> Result | None:
        """Does in a thread what may take a while or fail; None, and a message on the page, where it fails."""
        return await self.reported(asyncio.to_thread(action, *arguments, **named))

    async def reported(self, work: Awaitable[Result]) -> Result | None:
        """What comes of some work; None, and a message on the page, where it fails."""
        try:
            return await work
        except Exception as error:
            self.tell(error)
        return None

    def tell(self, error: Exception) -> str:
        """Says on the page what went wrong; gives the sentence."""
        if isinstance(error, PomError):
            said = str(error)
        elif isinstance(error, OSError):
            reason = error.strerror or error
            said = f"{error.filename or 'A file'} cannot be read or written ({reason}): check that disk."
        else:
            log.error("A fault of the program, not of whoever uses it:", exc_info=error)
            said = "This did not work, by a fault of the program: the server has written down what happened."
        if not self.client.is_deleted:
            with self.client:
                ui.notify(said, type="negative", multi_line=True, timeout=10_000, close_button="Close")
        return said

    def refresh(self) -> None:
        """Brings the page up to date with what is known of the annotation."""
        if self.session is None:
            return
        if not self.editing.known.fault:
            self._choose_active()
            self._push_all()
            self.features_panel.refresh()
        self.editing.refresh()

    def _choose_active(self) -> None:
        """Draws the feature that it should, or the first one where that is gone."""
        ids = [feature.id for feature in self.features()]
        if self._to_activate in ids:
            self.view.active, self._to_activate = self._to_activate, ""
        elif self.view.active not in ids:
            self.view.active = ids[0] if ids else ""

    # The page's life

    async def tick(self) -> None:
        """Every second: what others may have changed."""
        self.suggestions.look()
        if not self.may_edit:
            await self.editing.update()


async def annotate_page(sessions: Sessions, shared: Shared, tomogram: str, z: int | None) -> None:
    """Builds the page for one browser."""
    with frame(sessions.project, PLACES[0]) as header:
        pass
    client = ui.context.client
    await client.connected()  # whoever only fetches the address takes no right to edit from anybody
    page = AnnotatePage(sessions, shared, client.tab_id or "", client.ip)
    page.build(header)
    client.on_disconnect(page.editing.lost)
    client.on_connect(page.editing.back)
    client.on_delete(page.editing.close)
    ui.run_javascript("addEventListener('popstate', () => location.reload())")
    with contextlib.suppress(TimeoutError):
        looked_at = await ui.run_javascript(f"sessionStorage.getItem('{LOOKS_AT}')", timeout=SECONDS_TO_ANSWER)
        page.opening.looks_at = str(looked_at or "")
    await page.library.look()
    names = await page.tomograms.load()
    if names and not tomogram:
        tomogram = page.tomograms.first()
    if not names:
        with ui.element("div").classes("pom-empty"):
            ui.label(NO_TOMOGRAMS.format(folder=sessions.project.tomogram_dir.absolute()))
        return
    await page.show_tomogram(tomogram, z)
    ui.timer(1.0, page.tick)
    # Of thousands of tomograms this takes a while; nobody waits for it.
    await page.tomograms.fill()
