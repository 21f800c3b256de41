"""Tools: the strip on the left, what the tool in hand can be set to, and how the image is shown."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from nicegui import ui

from pom.app.annotate.looking import LayerLook
from pom.app.buttons import attribute, icon_button, with_tip

if TYPE_CHECKING:
    from pom.app.annotate.page import AnnotatePage

SMALLEST_BRUSH, LARGEST_BRUSH = 2.0, 1000.0
"""In nm."""
KINDS = {"macromolecule": "Macromolecules", "output": "Outputs", "network": "Networks, as they see this slice"}


@dataclass(frozen=True)
class Tool:
    """A tool of the canvas, by the name it has there."""

    name: str
    icon: str
    key: str
    says: str


TOOLS = (
    Tool("brush", "sym_o_brush", "B", "Brush"),
    Tool("eraser", "sym_o_ink_eraser", "E", "Eraser"),
    Tool("magic", "sym_o_wand_stars", "M", "Magic brush: similar pixels inside the circle"),
    Tool("polygon", "sym_o_polyline", "P", "Polygon"),
    Tool("fill", "sym_o_colors", "F", "Fill an enclosed area"),
    Tool("box", "sym_o_crop_square", "X", "Boxes: what is inside is fully annotated"),
    Tool("accept", "sym_o_task_alt", "A", "Accept: take what the network says here"),
    Tool("pan", "sym_o_pan_tool", "H", "Hand: move the slice"),
)
WITH_BRUSH = ("brush", "eraser", "magic", "accept")
HINTS = {
    "brush": "Draw what belongs to the feature. Shift erases.",
    "eraser": "Take away what was drawn.",
    "magic": "Grows over similar pixels inside the circle.",
    "polygon": "Click the corners; double click or Enter closes.",
    "fill": "Click into an outline to fill it.",
    "box": "Click places a box, drag moves it, Alt + click deletes it.",
    "accept": "Paints what the active feature's network says above the level.",
    "pan": "Drag to move, Ctrl + wheel to zoom.",
}


class ToolStrip:
    """The narrow strip of tools."""

    def __init__(self, page: "AnnotatePage") -> None:
        self._page = page
        self._buttons: dict[str, ui.button] = {}
        with ui.element("div").classes("pom-strip").props('role=toolbar aria-label="Tools" aria-orientation=vertical'):
            for tool in TOOLS:
                choose = partial(page.choose_tool, tool.name)
                self._buttons[tool.name] = self._button(tool.icon, tool.says, tool.key, choose)
            ui.element("div").classes("pom-strip-line")
            self._undo = self._button("sym_o_undo", "Undo", "Ctrl + Z", lambda: page.ask_canvas("undo"))
            self._redo = self._button("sym_o_redo", "Redo", "Ctrl + Y", lambda: page.ask_canvas("redo"))
            ui.element("div").classes("pom-strip-line")
            self._button("sym_o_fit_screen", "The whole slice", "0", lambda: page.ask_canvas("fit"))
            ui.element("div").classes("pom-header-space")
            self._button("sym_o_keyboard", "All keys", "?", lambda: page.ask_canvas("show_keys"))
        self.show_undo({"undo": 0, "redo": 0})
        self.refresh()

    def _button(self, icon: str, says: str, key: str, on_click: Callable[[], Any]) -> ui.button:
        button = icon_button(icon, f"{says} ({key})", on_click, tip=False).classes("pom-strip-button")
        with button, ui.tooltip().props('anchor="center right" self="center left" :offset="[6, 0]"'):
            ui.label(says)
            ui.label(key).classes("pom-key")
        return button

    def refresh(self) -> None:
        """Marks the tool in hand."""
        for name, button in self._buttons.items():
            chosen = name == self._page.view.tool
            button.props(f"aria-pressed={'true' if chosen else 'false'}")
            button.classes(add="pom-chosen" if chosen else "", remove="" if chosen else "pom-chosen")

    def show_undo(self, depth: dict[str, int]) -> None:
        """Enables what there is something to undo or redo for."""
        self._undo.set_enabled(depth.get("undo", 0) > 0)
        self._redo.set_enabled(depth.get("redo", 0) > 0)


class ToolOptions:
    """One line above the image: what the tool in hand does, and its settings."""

    def __init__(self, page: "AnnotatePage") -> None:
        self._page = page
        with ui.element("div").classes("pom-options"):
            self._name = ui.label().classes("pom-tool-name")
            with ui.element("div").classes("pom-option") as self._brush:
                ui.label("Size")
                low, high = math.log(SMALLEST_BRUSH), math.log(LARGEST_BRUSH)
                self._size = ui.slider(min=low, max=high, step=0.01, value=math.log(page.view.brush))
                self._size.props('aria-label="Brush size"').classes("pom-option-slider")
                self._size.on("update:model-value", lambda event: self._sized(math.exp(event.args)), throttle=0.05)
                self._nm = ui.label().classes("pom-number pom-nm")
            with ui.element("div").classes("pom-option") as self._sensitivity:
                ui.label("Sensitivity")
                slider = ui.slider(min=0, max=1, step=0.01, value=page.view.sensitivity)
                slider.props('aria-label="Sensitivity"').classes("pom-option-slider")
                slider.on("update:model-value", lambda event: page.push(sensitivity=event.args), throttle=0.1)
            with ui.element("div").classes("pom-option") as self._level:
                ui.label("Level")
                slider = ui.slider(min=0.05, max=0.95, step=0.01, value=page.view.level)
                slider.props('aria-label="Level above which the network says yes"').classes("pom-option-slider")
                slider.on("update:model-value", lambda event: self._levelled(event.args), throttle=0.1)
                self._level_value = ui.label(f"{page.view.level:.2f}").classes("pom-number")
                everywhere = ui.button("In all boxes", on_click=lambda: page.ask_canvas("accept_in_boxes"))
                with_tip(everywhere.props("dense outline"), "Take what the network says inside the boxes of this slice")
            self._hint = ui.label().classes("pom-muted pom-small pom-hint")
        self.refresh()

    def _sized(self, size: float) -> None:
        self._page.push(brush=round(size, 1))
        self._nm.text = f"{size:.0f} nm"

    def _levelled(self, value: float) -> None:
        level = round(value, 2)  # in whole hundredths the comparison is exact
        self._page.push(level=level)
        self._level_value.text = f"{level:.2f}"

    def refresh(self) -> None:
        """Shows what belongs to the tool in hand."""
        view = self._page.view
        self._name.text = next(tool.says.partition(":")[0] for tool in TOOLS if tool.name == view.tool)
        self._hint.text = HINTS[view.tool]
        self._brush.set_visibility(view.tool in WITH_BRUSH)
        self._sensitivity.set_visibility(view.tool == "magic")
        self._level.set_visibility(view.tool == "accept")
        self._size.value = math.log(min(max(view.brush, SMALLEST_BRUSH), LARGEST_BRUSH))
        self._nm.text = f"{view.brush:.0f} nm"


class ImagePanel:
    """How the slice is shown, and what lies over it."""

    def __init__(self, page: "AnnotatePage") -> None:
        self._page = page
        view = page.view
        ui.label("Slice").classes("pom-section")
        with ui.element("div").classes("pom-field"):
            ui.label("Contrast")
            self._contrast = ui.range(min=0, max=255, step=1, value={"min": view.low, "max": view.high})
            self._contrast.props('aria-label="Contrast: darkest and brightest grey"')
            self._contrast.on("update:model-value", lambda event: self._contrasted(event.args), throttle=0.05)
        with ui.row().classes("gap-2 items-center"):
            automatic = ui.button("Automatic", on_click=lambda: page.ask_canvas("automatic_contrast"))
            with_tip(automatic.props("dense outline"), "Contrast of this slice (C)")
            self._inverted = ui.checkbox("Inverted", value=view.inverted).props("dense")
            self._inverted.on("update:model-value", lambda event: page.push(inverted=_is_ticked(event.args)))
        with ui.element("div").classes("pom-field"):
            ui.label("Slab")
            slab = ui.slider(min=1, max=31, step=2, value=view.slab)
            slab.props('aria-label="Slab: mean of so many slices"')
            slab.on("update:model-value", lambda event: self._slabbed(int(event.args)), throttle=0.2)
            self._slab_text = ui.label().classes("pom-number pom-value")
        with ui.element("div").classes("pom-field"):
            ui.label("Blur")
            blur = ui.slider(min=0, max=8, step=0.5, value=view.blur).props('aria-label="Blur in pixels"')
            blur.on("update:model-value", lambda event: self._blurred(float(event.args)), throttle=0.1)
            self._blur_text = ui.label().classes("pom-number pom-value")
        ui.label("The blur changes what you see and what the magic brush sees, never the data.").classes(
            "pom-muted pom-small"
        )
        self._slabbed(view.slab)
        self._blurred(view.blur)
        self._layers = ui.element("div").classes("pom-layers")

    def _contrasted(self, ends: dict[str, int]) -> None:
        self._page.push(low=int(ends["min"]), high=int(ends["max"]))

    def _slabbed(self, slab: int) -> None:
        self._page.push(slab=slab)
        self._slab_text.text = "1 slice" if slab == 1 else f"{slab} slices"

    def _blurred(self, blur: float) -> None:
        self._page.push(blur=blur)
        self._blur_text.text = "none" if blur == 0 else f"{blur:g} px"

    def refresh_contrast(self) -> None:
        """Shows the contrast as the canvas has set it."""
        view = self._page.view
        self._contrast.value = {"min": view.low, "max": view.high}
        self._inverted.value = view.inverted

    def refresh(self) -> None:
        """Shows the layers of the tomogram on the page."""
        self._layers.clear()
        shown = self._page.shown
        if shown is None:
            return
        with self._layers:
            for kind, heading in KINDS.items():
                layers = [layer for layer in shown.layers if layer.kind == kind]
                if layers:
                    ui.label(heading).classes("pom-section")
                for layer in layers:
                    self._layer(layer.id, layer.title)
            if not any(layer.kind == "network" for layer in shown.layers):
                ui.label("Networks").classes("pom-section")
                ui.label("No single network is trained yet: see the tab 'Network'.").classes("pom-muted pom-small")

    def _layer(self, key: str, title: str) -> None:
        page = self._page
        look = page.view.layers.setdefault(key, LayerLook())

        def changed(*, visible: bool | None = None, opacity: float | None = None) -> None:
            look.visible = look.visible if visible is None else visible
            look.opacity = look.opacity if opacity is None else opacity
            page.push()

        with ui.element("div").classes("pom-layer"):
            box = ui.checkbox(title, value=look.visible).props("dense").classes("pom-layer-title")
            box.on("update:model-value", lambda event: changed(visible=_is_ticked(event.args)))
            slider = ui.slider(min=0, max=1, step=0.05, value=look.opacity).props(
                f'aria-label="Opacity of {attribute(title)}"'
            )
            slider.on("update:model-value", lambda event: changed(opacity=float(event.args)), throttle=0.1)


def _is_ticked(arguments: Any) -> bool:
    """What a checkbox tells: whether it is ticked now, and after that the click."""
    return bool(arguments[0])
