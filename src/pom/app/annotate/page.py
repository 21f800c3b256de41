"""The page on which a person annotates: the canvas in the middle, tools on its left, one panel on its right."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from nicegui import events, ui

from pom.app.annotate.buttons import icon_button
from pom.app.annotate.canvas import CanvasProps, CanvasTomogram, SliceCanvas
from pom.app.annotate.document import Stamp, annotated_slices
from pom.app.annotate.features import FeaturesPanel
from pom.app.annotate.jobs import JobsPanel
from pom.app.annotate.library import LibraryPanel
from pom.app.annotate.looking import Shown, View, canvas_props
from pom.app.annotate.session import Session, Sessions
from pom.app.annotate.suggestions import SuggestionsPanel
from pom.app.annotate.tomograms import TomogramsPanel
from pom.app.annotate.tools import ImagePanel, ToolOptions, ToolStrip
from pom.app.frame import PLACES, address_of, frame
from pom.app.slices.layers import layers_of
from pom.app.slices.volumes import file_tag
from pom.errors import PomError
from pom.io.annotation_store import StoredFeature
from pom.io.mrc import read_header, resolve_voxel_size
from pom.io.palette import PALETTE
from pom.project.paths import Project

log = logging.getLogger(__name__)

Result = TypeVar("Result")

LOOKS_AT = "pom-looks-at"
"""Under which the canvas keeps, in the tab, what is only looked at."""
SECONDS_TO_ANSWER = 10.0
SECONDS_TO_ADDRESS = 0.3
"""While somebody scrolls, the address follows in such steps: browsers refuse to change it very often."""
NO_TOMOGRAMS = "There is no tomogram in {folder}: put some there, named NAME.mrc, and load this page again."


class AnnotatePage:
    """What the panels of one page share: the tomogram, how it is looked at, and the canvas."""

    def __init__(self, sessions: Sessions, tab: str, address: str) -> None:
        self.sessions = sessions
        self.client = ui.context.client
        self.view = View()
        self.session: Session | None = None
        self.shown: Shown | None = None
        self.looks_at = ""
        """What the page only looked at before it was loaded again: it is not to be faster than whoever edits that."""
        self._tab, self._address = tab, address
        self._loop = asyncio.get_running_loop()
        self._refreshing = self._addressing = False
        self._url = ""
        self._stamp: Stamp = ()

    @property
    def project(self) -> Project:
        """As it is now: the configuration can change while the page is open."""
        return self.sessions.project

    @property
    def may_edit(self) -> bool:
        """Whether this page may change the annotation."""
        return self.session is not None and self.session.may_edit

    def features(self) -> tuple[StoredFeature, ...]:
        """The features of the tomogram on the page."""
        return () if self.session is None else self.session.document.features()

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
                self._build_banner()
                self._stage = ui.element("div").classes("pom-stage-room")
            self._build_panel()

    def _step_button(self, icon: str, label: str, step: int) -> None:
        icon_button(icon, label, lambda: self.tomograms.step(step))

    def _build_banner(self) -> None:
        with ui.row().classes("pom-banner").props("role=alert") as self._banner:
            self._banner_text = ui.label()
            self._edit_here = ui.button("Edit here", on_click=self.edit_here).props("dense outline")
            self._newer = ui.button("Show the changes", on_click=self._show_changes).props("dense outline")
        self._banner.set_visibility(False)

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

    async def show_tomogram(self, name: str, z: int | None = None, at: tuple[float, float] | None = None) -> None:
        """Opens another tomogram in this page, in its middle slice unless ``z`` is given."""
        if self.shown is not None and self.shown.name == name:
            if z is not None:
                self.go_to(z, at)
            return
        opened = await self.attempt(self._open, name, self.looks_at == name)
        self.looks_at = ""
        if opened is None:
            return
        session, shown = opened
        if self.session is not None:
            self.session.leave()
        self.session, self.shown = session, shown
        session.listen(self._told)
        self._stamp = session.document.stamp
        n_slices = shown.shape[0]
        self.view.z = n_slices // 2 if z is None else min(max(z, 0), n_slices - 1)
        self.view.hidden, self.view.opacity = set(), {}
        first = next(iter(self.features()), None)
        self.view.active = "" if first is None else first.id
        self._title.text = name
        self.features_panel.clear()
        self._make_canvas()
        if at is not None and z is not None:
            self.go_to(z, at)
        self.refresh()
        self.image.refresh()
        self.tomograms.refresh_current()
        # The first tomogram takes the place of the address that was asked for: 'back' leads out of the page.
        self._show_address(push=bool(self._url))

    def _open(self, name: str, look: bool) -> tuple[Session, Shown]:
        session = self.sessions.open(name, tab=self._tab, address=self._address, look=look)
        try:
            path = self.project.tomogram(name)
            header = read_header(path)
            voxel_size = resolve_voxel_size(header, self.project.configuration.apix)[1] / 10
            layers = tuple(layers_of(self.project, name))
            session.document.features()  # read here, in a thread, and kept
        except PomError:
            session.close()  # or the right to edit would be kept for nothing
            raise
        return session, Shown(name, header.shape, voxel_size, layers, file_tag(path))

    def _make_canvas(self) -> None:
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
        handlers: dict[str, Callable[[events.GenericEventArguments], None]] = {
            "z": self._on_z,
            "tool": self._on_tool,
            "brush": self._on_brush,
            "active": self._on_active,
            "saving": self._on_saving,
            "contrast": self._on_contrast,
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

    def go_to(self, z: int, at: tuple[float, float] | None = None) -> None:
        """Shows slice ``z``, and the place (x, y) in its middle if one is given."""
        if self.shown is None:
            return
        z = min(max(z, 0), self.shown.shape[0] - 1)
        self.canvas.go_to(z, *(at or (None, None)))
        self.view.z = z
        self._show_address()

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

    def _show_address(self, *, push: bool = False) -> None:
        """The address bar says what is shown, so that it can be sent and loaded again."""
        if self.shown is None:
            return
        url = address_of(self.shown.name, self.view.z)
        if url != self._url:
            self._url = url
            what = "pushState" if push else "replaceState"
            ui.run_javascript(f"history.{what}(history.state, '', {json.dumps(url)})")

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
        return canvas_props(self.view, self.features(), shown.layers, self.may_edit, self.colour_of)

    def colour_of(self, title: str) -> str:
        """The colour of a layer: that of the feature of its title, or of the library's, or one of the palette."""
        for feature in self.features():
            if feature.title == title:
                return feature.colour
        titles = [] if self.shown is None else [layer.title for layer in self.shown.layers]
        return self.library.colour_of(title) or PALETTE[titles.index(title) % len(PALETTE) if title in titles else 0]

    def _on_z(self, event: events.GenericEventArguments) -> None:
        self.view.z = int(event.args)
        if not self._addressing:
            self._addressing = True
            self._loop.call_later(SECONDS_TO_ADDRESS, self._show_address_now)

    def _show_address_now(self) -> None:
        self._addressing = False
        if not self.client.is_deleted:
            with self.client:
                self._show_address()

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
        """Chooses the feature that is drawn."""
        self.push(active=feature_id)
        self.features_panel.refresh()

    def _on_contrast(self, event: events.GenericEventArguments) -> None:
        low, high = int(event.args["low"]), int(event.args["high"])
        self.push(low=low, high=high, inverted=bool(event.args.get("inverted", self.view.inverted)))
        self.image.refresh_contrast()

    def _on_saving(self, event: events.GenericEventArguments) -> None:
        if event.args == "refused":
            self.refresh()

    # Changes

    async def act(self, action: Callable[..., Awaitable[object] | object], *arguments: Any) -> None:
        """Does what a row of a list was clicked for; not in that row's own place, which may be made anew meanwhile."""
        with self.client:
            result = action(*arguments)
            if isinstance(result, Awaitable):
                await result

    async def attempt(self, action: Callable[..., Result], *arguments: Any, **named: Any) -> Result | None:
        """Does something that may take a while or fail; None, and a message on the page, where it fails."""
        try:
            return await asyncio.to_thread(action, *arguments, **named)
        except PomError as error:
            said = str(error)
        except Exception:
            log.exception("A fault of the program, not of whoever uses it:")
            said = "This did not work, by a fault of the program: the server has written down what happened."
        with self.client:
            ui.notify(said, type="negative", multi_line=True, timeout=10_000, close_button="Close")
        return None

    def _told(self) -> None:
        """The annotation, or who edits it, has changed; called by any thread."""
        with contextlib.suppress(RuntimeError):  # the server is just ending
            self._loop.call_soon_threadsafe(self._refresh_soon)

    def _refresh_soon(self) -> None:
        if not self._refreshing:
            self._refreshing = True
            self._loop.call_later(0.1, self._refresh_now)

    def _refresh_now(self) -> None:
        self._refreshing = False
        if not self.client.is_deleted:
            with self.client:
                self.refresh()

    def refresh(self) -> None:
        """Brings the page up to date with the annotation."""
        if self.session is None:
            return
        try:
            features = self.features()
        except PomError as error:
            self._say_banner(str(error), free=False)
            return
        if self.view.active not in [feature.id for feature in features]:
            self.view.active = features[0].id if features else ""
        self._push_all()
        self.features_panel.refresh()
        self._refresh_banner()

    def _refresh_banner(self) -> None:
        if self.session is None or self.session.may_edit:
            self._banner.set_visibility(False)
            return
        other = self.session.other_editor()
        if other is None:
            self._say_banner("You are looking. Nobody edits this tomogram now.", free=True)
        else:
            self._say_banner(f"{other.sentence()} You may look, but not change anything.", free=False)

    def _say_banner(self, text: str, *, free: bool) -> None:
        self._banner.set_visibility(True)
        self._banner_text.text = text
        self._edit_here.set_visibility(free)
        self._newer.set_visibility(self.session is not None and self._stamp != self.session.document.stamp)

    def _show_changes(self) -> None:
        session = self._open_now()[1]
        self._stamp = session.document.stamp
        self.canvas.reload()
        self._refresh_banner()

    async def edit_here(self) -> None:
        """Takes the right to edit, and shows the annotation as it is now."""
        if self.session is None or not await self.attempt(self.session.take_edit):
            self.refresh()
            return
        self._make_canvas()
        self.refresh()

    # The page's life

    async def tick(self) -> None:
        """Every second: what others may have changed."""
        if self.session is not None and not self.session.may_edit:
            with contextlib.suppress(PomError):  # refresh says it
                await asyncio.to_thread(self.session.document.features)
            self.refresh()

    def lost(self) -> None:
        """The browser is away."""
        if self.session is not None:
            self.session.lost()

    async def back(self) -> None:
        """The browser is there again."""
        if self.session is not None:
            await asyncio.to_thread(self.session.back)
            self.refresh()

    async def close(self) -> None:
        """The page is gone."""
        if self.session is not None:
            await asyncio.to_thread(self.session.close)


async def annotate_page(sessions: Sessions, tomogram: str, z: int | None) -> None:
    """Builds the page for one browser."""
    with frame(sessions.project, PLACES[0]) as header:
        pass
    client = ui.context.client
    await client.connected()  # whoever only fetches the address takes no right to edit from anybody
    page = AnnotatePage(sessions, client.tab_id or "", client.ip)
    page.build(header)
    client.on_disconnect(page.lost)
    client.on_connect(page.back)
    client.on_delete(page.close)
    ui.run_javascript("addEventListener('popstate', () => location.reload())")
    with contextlib.suppress(TimeoutError):
        looked_at = await ui.run_javascript(f"sessionStorage.getItem('{LOOKS_AT}')", timeout=SECONDS_TO_ANSWER)
        page.looks_at = str(looked_at or "")
    names = await page.tomograms.load()
    if names and not tomogram:
        tomogram = page.tomograms.first()
    if not names:
        with ui.element("div").classes("pom-empty"):
            ui.label(NO_TOMOGRAMS.format(folder=sessions.project.tomogram_dir.absolute()))
        return
    await page.show_tomogram(tomogram, z)
    ui.timer(1.0, page.tick)
