"""The dialog in which a preset of the feature library is made or changed."""

from collections.abc import Mapping
from typing import NamedTuple

from nicegui import ui

from pom.errors import PomError
from pom.io.feature_library import LARGEST_BOX, Preset, preset_from


class Number(NamedTuple):
    """A field that takes a number."""

    key: str
    label: str
    low: float
    high: float
    step: float


NUMBERS = (
    Number("box_size", "Box side, pixels", 1, LARGEST_BOX, 1),
    Number("brush_size", "Brush size, nm", 1, 5000, 1),
    Number("alpha", "Opacity, 0 to 1", 0, 1, 0.05),
    Number("level", "Level, 0 to 256", 0, 256, 1),
    Number("dust", "Dust, nm³", 0, 1e9, 1),
    Number("render_alpha", "Rendered opacity, 0 to 1", 0, 1, 0.05),
)


class PresetDialog:
    """All fields of a preset; a new one has no title yet."""

    def __init__(self, preset: Preset, *, is_new: bool) -> None:
        self._others = preset.others
        with ui.dialog() as self._dialog, ui.card():
            ui.label("New preset" if is_new else f"Preset {preset.title}").classes("pom-heading")
            self._title = ui.input("Title", value="" if is_new else preset.title)
            self._title.props("dense outlined autofocus")
            self._colour = ui.color_input("Colour", value=preset.hex_colour).props("dense outlined")
            with ui.element("div").classes("pom-preset-fields"):
                self._numbers = {number.key: _field(number, getattr(preset, number.key)) for number in NUMBERS}
            self._hide = ui.checkbox("Hidden at first", value=preset.hide).props("dense")
            with ui.row().classes("w-full justify-end gap-2"):
                ui.button("Cancel", on_click=self._dialog.close).props("flat")
                save = ui.button("Save", on_click=self._dialog.submitted.set)
                save.props("unelevated text-color=dark")

    async def entered(self) -> dict[str, object] | None:
        """Waits for 'Save'; what was entered, for ``preset_of``, or None where the person changes their mind.

        The dialog stays open after that, for what is entered may have to be corrected.
        """
        self._dialog.submitted.clear()
        self._dialog.open()
        await self._dialog.submitted.wait()  # set by 'Save', and when the dialog is closed or deleted
        if self._dialog.is_deleted or not self._dialog.value:
            return None
        return {
            **self._others,
            "title": (self._title.value or "").strip(),
            "colour": self._colour.value,
            **{key: field.value for key, field in self._numbers.items()},
            "hide": self._hide.value,
        }

    def delete(self) -> None:
        """Takes the dialog off the page."""
        if not self._dialog.is_deleted:
            self._dialog.close()
            self._dialog.delete()


def preset_of(entered: Mapping[str, object]) -> Preset:
    """The preset of what was entered, by the keys of a preset's JSON object.

    Raises:
        PomError: a field is empty, or holds what it cannot.
    """
    for number in NUMBERS:
        if entered[number.key] is None:
            raise PomError(f"{number.label!r} is empty: give a number from {number.low:.0f} to {number.high:.0f}.")
    return preset_from(entered, "The preset")


def _field(number: Number, value: float) -> ui.number:
    field = ui.number(number.label, value=value, min=number.low, max=number.high, step=number.step)
    return field.props("dense outlined")
