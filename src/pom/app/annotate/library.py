"""The feature library: presets that make an annotation look alike everywhere, and go to Ais and back."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from nicegui import events, ui

from pom.app.annotate.buttons import icon_button
from pom.app.annotate.dialogs import confirm
from pom.errors import PomError
from pom.io.annotation_store import StoredFeature
from pom.io.feature_library import (
    USUAL_OPACITY,
    FeatureLibrary,
    Preset,
    ais_library_text,
    parse_ais_library,
    preset_from,
)
from pom.words import counted
from pom.workflow.feature_library import load_library, save_library

if TYPE_CHECKING:
    from pom.app.annotate.page import AnnotatePage

LARGEST_UPLOAD = 4 << 20
EXPORT_NAME = "feature_library.txt"
NUMBERS = (
    ("box_size", "Box side, pixels", 1.0, 65535.0, 1.0),
    ("brush_size", "Brush size, nm", 1.0, 5000.0, 1.0),
    ("alpha", "Opacity, 0 to 1", 0.0, 1.0, 0.05),
    ("level", "Level, 0 to 256", 0.0, 256.0, 1.0),
    ("dust", "Dust, nm³", 0.0, 1e9, 1.0),
    ("render_alpha", "Rendered opacity, 0 to 1", 0.0, 1.0, 0.05),
)


class LibraryPanel:
    """The presets of the project, and what can be done with them."""

    def __init__(self, page: "AnnotatePage") -> None:
        self._page = page
        self._library = FeatureLibrary()
        ui.label("Presets for features, kept with the project and shared by all tomograms.").classes(
            "pom-muted pom-small"
        )
        self._list = ui.element("div").classes("pom-list").props('role=list aria-label="Presets"')
        with ui.row().classes("gap-2 items-center"):
            ui.button("Add", icon="sym_o_add", on_click=self._add).props("dense outline")
            ui.button("Export", icon="sym_o_download", on_click=self._export).props("dense outline").tooltip(
                f"As Ais' {EXPORT_NAME}"
            )
            pick = ui.button("Import", icon="sym_o_upload").props("dense outline").tooltip(f"Ais' {EXPORT_NAME}")
        self._upload = ui.upload(
            on_upload=self._import, on_rejected=self._rejected, auto_upload=True, max_file_size=LARGEST_UPLOAD
        )
        self._upload.props('accept=".txt,.json" aria-label="Import a feature library"').classes("hidden")
        pick.on("click", lambda: self._upload.run_method("pickFiles"))
        self.reload()

    # For the other panels

    def presets(self) -> tuple[Preset, ...]:
        """All presets, in the library's order."""
        return self._library.presets

    def get(self, title: str) -> Preset | None:
        """The preset of a title."""
        return self._library.get(title)

    def colour_of(self, title: str) -> str | None:
        """The colour that the library has for a title."""
        preset = self._library.get(title)
        return None if preset is None else preset.hex_colour

    async def take(self, feature: StoredFeature) -> None:
        """Makes a preset of a feature as it is drawn on this page."""
        view = self._page.view
        values: dict[str, object] = {
            "title": feature.title,
            "colour": feature.colour,
            "box_size": feature.box_size,
            "brush_size": view.brush,
            "alpha": view.opacity.get(feature.id, USUAL_OPACITY),
        }
        await self._save(partial(self._with, values, None), f"{feature.title} is in the library.")

    # Showing

    def reload(self) -> None:
        """Reads the library again: another page may have changed it."""
        try:
            self._library = load_library(self._page.project)
        except PomError as error:
            ui.notify(str(error), type="negative", multi_line=True, close_button="Close", timeout=10_000)
        self._show()

    def _show(self) -> None:
        self._list.clear()
        with self._list:
            for preset in self._library.presets:
                self._row(preset)
            if not self._library.presets:
                ui.label("The library is empty.").classes("pom-muted pom-none")

    def _row(self, preset: Preset) -> None:
        with ui.element("div").classes("pom-preset").props("role=listitem"):
            ui.element("span").classes("pom-dot").style(f"background: {preset.hex_colour}")
            with ui.element("div").classes("pom-row-title"):
                ui.label(preset.title)
                ui.label(f"box {preset.box_size} px, brush {preset.brush_size:g} nm").classes("pom-muted pom-small")
            icon_button("sym_o_edit", f"Edit {preset.title}", partial(self._page.act, self._edit, preset))
            icon_button("sym_o_delete", f"Delete {preset.title}", partial(self._page.act, self._remove, preset))

    # Changing

    async def _add(self) -> None:
        size = self._page.project.configuration.ontology_annotation_box_size
        await self._ask(self._library.new_preset("New", size), None)

    async def _edit(self, preset: Preset) -> None:
        await self._ask(preset, preset.title)

    async def _ask(self, preset: Preset, instead_of: str | None) -> None:
        """A dialog with all fields of a preset."""
        with ui.dialog() as dialog, ui.card():
            ui.label("New preset" if instead_of is None else f"Preset {preset.title}").classes("pom-heading")
            title = ui.input("Title", value="" if instead_of is None else preset.title).props(
                "dense outlined autofocus"
            )
            colour = ui.color_input("Colour", value=preset.hex_colour).props("dense outlined")
            with ui.element("div").classes("pom-preset-fields"):
                numbers = {
                    key: ui.number(label, value=getattr(preset, key), min=low, max=high, step=step).props(
                        "dense outlined"
                    )
                    for key, label, low, high, step in NUMBERS
                }
            hide = ui.checkbox("Hidden at first", value=preset.hide).props("dense")
            with ui.row().classes("w-full justify-end gap-2"):
                ui.button("Cancel", on_click=dialog.close).props("flat")
                ui.button("Save", on_click=lambda: dialog.submit(True)).props("unelevated text-color=dark")
        saved = await dialog
        values: dict[str, object] = {
            **preset.others,
            "title": (title.value or "").strip(),
            "colour": colour.value,
            **{key: number.value for key, number in numbers.items()},
            "hide": bool(hide.value),
        }
        dialog.delete()
        if saved:
            await self._save(partial(self._with, values, instead_of), f"{values['title']} is saved.")

    def _with(self, values: dict[str, object], instead_of: str | None) -> FeatureLibrary:
        floats: dict[str, object] = {
            key: float(str(values[key])) for key in ("brush_size", "alpha", "dust", "render_alpha") if key in values
        }
        preset = preset_from({**values, **floats}, "The preset")
        return load_library(self._page.project).with_preset(preset, instead_of)

    async def _remove(self, preset: Preset) -> None:
        details = ["What is drawn in the tomograms stays as it is."]
        if await confirm(f"Delete the preset {preset.title}?", details, yes="Delete"):
            await self._save(lambda: load_library(self._page.project).without(preset.title), "")

    async def _save(self, change: Callable[[], FeatureLibrary], said: str) -> None:
        def save() -> FeatureLibrary:
            library = change()
            save_library(self._page.project, library)
            return library

        library = await self._page.attempt(save)
        if library is not None:
            self._library = library
            self._show()
            self._page.refresh()
            if said:
                ui.notify(said)

    # From and to Ais

    def _export(self) -> None:
        ui.download.content(ais_library_text(self._library), EXPORT_NAME, "text/plain")

    async def _import(self, event: events.UploadEventArguments) -> None:
        data, name = await event.file.read(), event.file.name
        self._upload.reset()
        imported = await self._page.attempt(parse_ais_library, data, name)
        if imported is not None:
            said = f"{counted(len(imported.presets), 'preset')} imported."
            await self._save(lambda: load_library(self._page.project).merged_with(imported), said)

    def _rejected(self) -> None:
        ui.notify(f"That is no feature library: choose Ais' {EXPORT_NAME}.", type="negative")
