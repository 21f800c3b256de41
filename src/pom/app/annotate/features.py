"""The features of the tomogram on the page: what is drawn, in which colour, and how much there is of it."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nicegui import ui

from pom.app.annotate.buttons import attribute, icon_button
from pom.app.annotate.dialogs import ask_text, confirm
from pom.app.annotate.document import counts
from pom.app.annotate.looking import FEATURE_OPACITY
from pom.io.annotation_store import StoredFeature
from pom.io.feature_library import Preset
from pom.words import counted
from pom.workflow.feature_library import add_ontology

if TYPE_CHECKING:
    from pom.app.annotate.page import AnnotatePage

SECONDS_TO_UNDO = 20


class FeaturesPanel:
    """One row per feature, the active one opened."""

    def __init__(self, page: "AnnotatePage") -> None:
        self._page = page
        self._key: object = None
        self._counts: dict[str, ui.label] = {}
        self._rows = ui.element("div").classes("pom-features").props('role=list aria-label="Features"')
        with ui.button("Add a feature", icon="sym_o_add").props("dense outline").classes("pom-add") as self._add:
            self._menu = ui.menu().props("max-height=70vh")
            self._menu.on("before-show", self._fill_menu)
        self._removed = ui.element("div")

    # Showing

    def refresh(self) -> None:
        """Brings the rows up to date; they are only made anew where more than a count has changed."""
        page, features = self._page, self._page.features()
        view = page.view
        look = [(feature.id, feature.title, feature.colour, feature.box_size) for feature in features]
        known = (page.library.presets(), page.project.ontologies)
        key = (look, view.active, frozenset(view.hidden), page.may_edit, known)
        if key != self._key:
            self._key = key
            self._counts = {}
            self._rows.clear()
            with self._rows:
                for number, feature in enumerate(features, 1):
                    self._row(number, feature)
                if not features:
                    ui.label("Nothing is annotated here yet. Add what you want to draw.").classes("pom-muted pom-none")
        for feature in features:
            self._counts[feature.id].text = _amount(feature)
        self._add.set_enabled(page.may_edit)

    def _row(self, number: int, feature: StoredFeature) -> None:
        page = self._page
        active, hidden = feature.id == page.view.active, feature.id in page.view.hidden
        with (
            ui.element("div").classes("pom-feature" + (" pom-current" if active else "")).props("role=listitem") as row
        ):
            with ui.element("div").classes("pom-feature-head"):
                self._swatch(feature)
                with ui.element("button").classes("pom-feature-title") as title:
                    title.props(f"aria-pressed={'true' if active else 'false'}").on(
                        "click", partial(page.act, page.activate, feature.id)
                    )
                    ui.label(feature.title).classes("pom-row-title")
                    self._counts[feature.id] = ui.label().classes("pom-muted pom-small pom-number")
                if number < 10:
                    ui.label(str(number)).classes("pom-key").tooltip(f"Key {number} draws this feature")
                icon = "sym_o_visibility_off" if hidden else "sym_o_visibility"
                says = f"{'Show' if hidden else 'Hide'} {feature.title}"
                icon_button(icon, says, partial(page.act, self._show_or_hide, feature.id)).classes("pom-small-button")
                more = icon_button("sym_o_more_vert", f"More about {feature.title}", tip=False)
                more.classes("pom-small-button")
                with more, ui.menu():
                    self._actions(feature)
            if active:
                self._details(feature)
            with row, ui.context_menu():
                self._actions(feature)

    def _swatch(self, feature: StoredFeature) -> None:
        swatch = ui.element("button").classes("pom-swatch").style(f"background: {feature.colour}")
        swatch.props(f'aria-label="Colour of {attribute(feature.title)}"')
        if self._page.may_edit:
            with swatch:
                picker = ui.color_picker(on_pick=lambda event: self._change(feature.id, colour=event.color[:7]))
                picker.set_color(feature.colour)
                picker.q_color.props("no-header no-footer format-model=hex")

    def _details(self, feature: StoredFeature) -> None:
        page = self._page
        with ui.element("div").classes("pom-feature-details"):
            with ui.element("div").classes("pom-field"):
                ui.label("Opacity")
                value = page.view.opacity.get(feature.id, FEATURE_OPACITY)
                slider = ui.slider(min=0, max=1, step=0.05, value=value)
                slider.props(f'aria-label="Opacity of {attribute(feature.title)}"')
                slider.on("update:model-value", lambda event: self._fade(feature.id, float(event.args)), throttle=0.1)
            with ui.row().classes("items-center gap-2"):
                ui.label(f"Boxes of {feature.box_size} px").classes("pom-muted pom-small")
                icon_button(
                    "sym_o_skip_previous", "Its annotated slice before", partial(page.act, self._jump, feature.id, -1)
                )
                icon_button("sym_o_skip_next", "Its next annotated slice", partial(page.act, self._jump, feature.id, 1))
            if feature.title not in page.project.ontologies:
                ui.label("The configuration does not list this ontology, so no network learns it.").classes(
                    "pom-warning pom-small"
                )
                ui.button("Add to ontologies", on_click=partial(page.act, self._add_ontology, feature.title)).props(
                    "dense outline"
                )

    def _actions(self, feature: StoredFeature) -> None:
        page = self._page
        ui.menu_item("Next annotated slice", partial(page.act, self._jump, feature.id, 1))
        if not page.may_edit:
            return
        ui.separator()
        for preset in page.library.presets():
            with ui.menu_item(on_click=partial(page.act, self._assign, feature.id, preset)):
                ui.element("span").classes("pom-dot").style(f"background: {preset.hex_colour}")
                ui.label(f"Make it {preset.title}")
        ui.separator()
        ui.menu_item("Rename …", partial(page.act, self._rename, feature))
        ui.menu_item("Side of its boxes …", partial(page.act, self._resize, feature))
        ui.menu_item("Add to the library", partial(page.act, page.library.take, feature))
        ui.menu_item("Remove …", partial(page.act, self._remove, feature))

    def _fill_menu(self) -> None:
        """What can be added: the library's titles and the ontologies that are not there yet, or a new title."""
        page = self._page
        taken = {feature.title.casefold() for feature in page.features()}
        titles = dict.fromkeys([*(preset.title for preset in page.library.presets()), *page.project.ontologies])
        self._menu.clear()
        with self._menu:
            for title in titles:
                if title.casefold() not in taken:
                    with ui.menu_item(on_click=partial(page.act, self.add, title)):
                        colour = page.library.colour_of(title) or "#888888"
                        ui.element("span").classes("pom-dot").style(f"background: {colour}")
                        ui.label(title)
            ui.separator()
            ui.menu_item("New title …", partial(page.act, self._add_new))

    # Looking

    def _show_or_hide(self, feature_id: str) -> None:
        hidden = self._page.view.hidden
        self._page.push(hidden=hidden - {feature_id} if feature_id in hidden else hidden | {feature_id})
        self.refresh()

    def _fade(self, feature_id: str, opacity: float) -> None:
        self._page.push(opacity={**self._page.view.opacity, feature_id: opacity})

    def _jump(self, feature_id: str, direction: int) -> None:
        feature = next((each for each in self._page.features() if each.id == feature_id), None)
        if feature is not None:
            self._page.next_annotated(direction, feature)

    # Changing

    async def _add_new(self) -> None:
        title = await ask_text("What do you want to draw?", confirm="Add")
        if title is not None:
            await self.add(title)

    async def add(self, title: str) -> None:
        """Adds a feature, as the library has it if it does, and makes it the one that is drawn."""
        page = self._page
        if page.session is None:
            return
        preset = page.library.get(title)
        size = page.project.configuration.ontology_annotation_box_size if preset is None else preset.box_size
        colour = None if preset is None else preset.hex_colour
        feature = await page.attempt(page.session.add_feature, title, size, colour)
        if feature is not None:
            self._adopt(feature.id, preset)
            page.activate(feature.id)

    def _adopt(self, feature_id: str, preset: Preset | None) -> None:
        """What of a preset is no part of the annotation: how the page draws and shows it."""
        if preset is not None:
            hidden = self._page.view.hidden
            self._page.push(
                brush=preset.brush_size,
                opacity={**self._page.view.opacity, feature_id: preset.alpha},
                hidden=hidden | {feature_id} if preset.hide else hidden - {feature_id},
            )
            self._page.options.refresh()

    async def _assign(self, feature_id: str, preset: Preset) -> None:
        values = {"title": preset.title, "colour": preset.hex_colour, "box_size": preset.box_size}
        if await self._change(feature_id, **values):
            self._adopt(feature_id, preset)

    async def _change(self, feature_id: str, **values: object) -> bool:
        page = self._page
        if page.session is None:
            return False

        def change() -> bool:
            if page.session is not None:
                page.session.change_feature(feature_id, **values)  # type: ignore[arg-type]
            return True

        return await page.attempt(change) is True

    async def _rename(self, feature: StoredFeature) -> None:
        title = await ask_text(f"Rename {feature.title}", feature.title, confirm="Rename")
        if title is not None:
            await self._change(feature.id, title=title)

    async def _resize(self, feature: StoredFeature) -> None:
        question = f"Side of the boxes of {feature.title}"
        size = await ask_text(question, str(feature.box_size), confirm="Change", label="Pixels of the tomogram")
        if size is None:
            return
        if not size.isdecimal() or not 0 < int(size) <= 4096:
            ui.notify("The side of a box is a whole number of pixels, from 1 to 4096.", type="negative")
            return
        await self._change(feature.id, box_size=int(size))

    async def _remove(self, feature: StoredFeature) -> None:
        page = self._page
        what = [f"{_amount(feature)} of it go. They can be put back afterwards."]
        if not await confirm(
            f"Remove {feature.title} from {page.shown.name if page.shown else ''}?", what, yes="Remove"
        ):
            return
        if page.session is None:
            return
        copy = await page.attempt(page.session.remove_feature, feature.id)
        if copy is not None:
            self._offer_to_put_back(feature, copy)

    def _offer_to_put_back(self, feature: StoredFeature, copy: Path) -> None:
        """A bar with a button for as long as the removal is fresh in mind; the copy stays after that, too."""
        with self._removed:
            bar = ui.element("div").classes("pom-undo-bar").props("role=status")

        page = self._page

        async def put_back() -> None:
            bar.delete()
            if page.session is not None:
                restored = await page.attempt(page.session.put_back, copy, feature.colour)
                if restored is not None:
                    page.canvas.reload()
                    page.activate(restored.id)

        with bar:
            ui.label(f"{feature.title} was removed.")
            ui.button("Put it back", on_click=partial(page.act, put_back)).props("dense outline")
            ui.timer(SECONDS_TO_UNDO, bar.delete, once=True)

    async def _add_ontology(self, title: str) -> None:
        page = self._page

        def add() -> bool:
            page.sessions.project = add_ontology(page.project, title)
            return True

        if await page.attempt(add):
            ui.notify(f"{title} is an ontology now: networks can be trained for it.")
            page.refresh()
            page.jobs.refresh_ontologies()


def _amount(feature: StoredFeature) -> str:
    boxes, slices = counts(feature)
    return f"{counted(boxes, 'box', 'boxes')}, {counted(slices, 'slice')} drawn"
