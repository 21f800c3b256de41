"""The row of one feature: colour, title, counts, visibility, its menus, and what else there is to set of it."""

from functools import partial
from typing import TYPE_CHECKING

from nicegui import ui

from pom.app.annotate.document import counts
from pom.app.buttons import attribute, icon_button, with_tip
from pom.io.annotation_store import StoredFeature
from pom.io.feature_library import USUAL_OPACITY
from pom.words import counted

if TYPE_CHECKING:
    from pom.app.annotate.features import FeaturesPanel

NUMBER_KEYS = 9


class FeatureRow:
    """One row, which stays for as long as its feature: an open menu or a click on its way outlives any change."""

    def __init__(self, panel: "FeaturesPanel", feature: StoredFeature) -> None:
        self._panel, self._page = panel, panel.page
        self.id = feature.id
        self._offered: object = None
        with ui.element("div").classes("pom-feature").props("role=listitem") as self.element:
            with ui.element("div").classes("pom-feature-head"):
                self._build_swatch()
                self._title = ui.element("button").classes("pom-feature-title")
                self._title.on("click", lambda: self._page.activate(self.id))
                with self._title:
                    self._name = ui.label().classes("pom-row-title")
                    self._amount = ui.label().classes("pom-muted pom-small pom-number")
                self._key = with_tip(ui.label().classes("pom-key"), "The key that takes this feature in hand")
                self._eye = icon_button("sym_o_visibility", "", lambda: panel.show_or_hide(self.id), tip=False)
                with self._eye.classes("pom-small-button"):
                    self._eye_tip = ui.tooltip()
                self._more = icon_button("sym_o_more_vert", "", tip=False).classes("pom-small-button")
                with self._more:
                    menu = ui.menu()
            self._build_details()
            self._menus = (menu, ui.context_menu())

    def _build_swatch(self) -> None:
        self._swatch = ui.element("button").classes("pom-swatch")
        with self._swatch:
            self._picker = ui.color_picker(on_pick=lambda event: self._panel.recolour(self.id, event.color[:7]))
            self._picker.q_color.props("no-header no-footer format-model=hex")

    def _build_details(self) -> None:
        with ui.element("div").classes("pom-feature-details") as self._details:
            with ui.element("div").classes("pom-field"):
                ui.label("Opacity")
                self._opacity = ui.slider(min=0, max=1, step=0.05, value=USUAL_OPACITY)
                self._opacity.on(
                    "update:model-value", lambda event: self._panel.fade(self.id, float(event.args)), throttle=0.1
                )
            with ui.row().classes("items-center gap-2"):
                self._boxes = ui.label().classes("pom-muted pom-small")
                icon_button("sym_o_skip_previous", "Its annotated slice before", lambda: self._panel.jump(self.id, -1))
                icon_button("sym_o_skip_next", "Its next annotated slice", lambda: self._panel.jump(self.id, 1))
            with ui.element("div").classes("pom-unlisted") as self._unlisted:
                ui.label("The configuration does not list this ontology, so no network learns it.").classes(
                    "pom-warning pom-small"
                )
                button = ui.button("Add to ontologies", on_click=lambda: self._panel.add_ontology(self.id))
                self._add_ontology = button.props("dense outline")

    def show(self, number: int, feature: StoredFeature) -> None:
        """Brings the row up to date; ``number``: its place, from 1."""
        view = self._page.view
        title = attribute(feature.title)
        active, hidden = feature.id == view.active, feature.id in view.hidden
        self.element.classes(add="pom-current" if active else "", remove="" if active else "pom-current")
        self._swatch.style(f"background: {feature.colour}").props(f'aria-label="Colour of {title}"')
        fixed = not self._page.may_edit
        self._swatch.props(add="aria-disabled=true" if fixed else "", remove="" if fixed else "aria-disabled")
        self._picker.props(add="no-parent-event" if fixed else "", remove="" if fixed else "no-parent-event")
        self._picker.set_color(feature.colour)
        self._title.props(f"aria-pressed={'true' if active else 'false'}")
        self._name.text, self._amount.text = feature.title, amount(feature)
        self._key.text = str(number)
        self._key.set_visibility(number <= NUMBER_KEYS)
        says = f"{'Show' if hidden else 'Hide'} {title}"
        self._eye.props(f'icon=sym_o_visibility{"_off" if hidden else ""} aria-label="{says}"')
        self._eye_tip.text = says
        self._more.props(f'aria-label="More about {title}"')
        self._details.set_visibility(active)
        self._opacity.value = view.opacity.get(feature.id, USUAL_OPACITY)
        self._opacity.props(f'aria-label="Opacity of {title}"')
        self._boxes.text = f"Boxes of {feature.box_size} px"
        self._unlisted.set_visibility(feature.title not in self._page.project.ontologies)
        self._add_ontology.set_enabled(self._page.may_edit)
        self._fill_menus()

    def _fill_menus(self) -> None:
        offered = self._page.library.presets(), self._page.may_edit
        if offered != self._offered:
            self._offered = offered
            for menu in self._menus:
                menu.clear()
                with menu:
                    self._actions()

    def _actions(self) -> None:
        page, panel = self._page, self._panel
        ui.menu_item("Next annotated slice", partial(page.act, panel.jump, self.id, 1))
        if not page.may_edit:
            return
        presets = page.library.presets()
        if presets:
            ui.separator()
        for preset in presets:
            with ui.menu_item(on_click=partial(page.act, panel.assign, self.id, preset)):
                ui.element("span").classes("pom-dot").style(f"background: {preset.hex_colour}")
                ui.label(f"Make it {preset.title}")
        ui.separator()
        ui.menu_item("Rename …", partial(page.act, panel.rename, self.id))
        ui.menu_item("Side of its boxes …", partial(page.act, panel.resize, self.id))
        ui.menu_item("Add to the library", partial(page.act, panel.add_to_library, self.id))
        ui.menu_item("Remove …", partial(page.act, panel.remove, self.id))


def amount(feature: StoredFeature) -> str:
    """How much there is of a feature, in words."""
    boxes, slices = counts(feature)
    return f"{counted(boxes, 'box', 'boxes')}, {counted(slices, 'slice')} drawn"
