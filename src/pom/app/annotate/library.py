"""The feature library: presets that make an annotation look alike everywhere, and go to Ais and back."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from nicegui import events, ui

from pom.app.annotate.dialogs import confirm
from pom.app.annotate.preset_dialog import PresetDialog, preset_of
from pom.app.buttons import icon_button, with_tip
from pom.io.annotation_store import StoredFeature
from pom.io.feature_library import (
    LARGEST_FILE,
    USUAL_OPACITY,
    FeatureLibrary,
    Preset,
    ais_library_text,
    entry_of,
    parse_ais_library,
    preset_from,
)
from pom.io.stamps import FileStamp, file_stamp
from pom.words import counted
from pom.workflow.feature_library import change_library, load_library

if TYPE_CHECKING:
    from pom.app.annotate.page import AnnotatePage

EXPORT_NAME = "feature_library.txt"
SECONDS_BETWEEN_LOOKS = 2.0
"""At the file, which other pages and servers may have changed."""


class LibraryPanel:
    """The presets of the project, and what can be done with them."""

    def __init__(self, page: "AnnotatePage") -> None:
        self._page = page
        self._library = FeatureLibrary()
        self._stamp: FileStamp | None = None
        ui.label("Presets for features, kept with the project and shared by all tomograms.").classes(
            "pom-muted pom-small"
        )
        self._list = ui.element("div").classes("pom-list").props('role=list aria-label="Presets"')
        with ui.row().classes("gap-2 items-center"):
            ui.button("Add", icon="sym_o_add", on_click=self._add).props("dense outline")
            export = ui.button("Export", icon="sym_o_download", on_click=self._export).props("dense outline")
            with_tip(export, f"As Ais' {EXPORT_NAME}")
            pick = ui.button("Import", icon="sym_o_upload").props("dense outline")
            with_tip(pick, f"Ais' {EXPORT_NAME}")
        self._upload = ui.upload(
            on_upload=self._import, on_rejected=self._rejected, auto_upload=True, max_file_size=LARGEST_FILE
        )
        self._upload.props('accept=".txt,.json" aria-label="Import a feature library"').classes("hidden")
        pick.on("click", lambda: self._upload.run_method("pickFiles"))
        self._show()
        ui.timer(SECONDS_BETWEEN_LOOKS, self.look, immediate=False)

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
        """Makes a preset of a feature as it is drawn on this page; one of its title keeps what else it says."""
        view = self._page.view
        values: dict[str, object] = {
            "title": feature.title,
            "colour": feature.colour,
            "box_size": feature.box_size,
            "brush_size": view.brush,
            "alpha": view.opacity.get(feature.id, USUAL_OPACITY),
        }

        def change(library: FeatureLibrary) -> FeatureLibrary:
            preset = library.get(feature.title) or library.new_preset(feature.title, feature.box_size)
            return library.with_preset(preset_from({**entry_of(preset), **values}, "The preset"))

        await self._change(change, f"{feature.title} is in the library.")

    # Showing

    async def look(self) -> None:
        """Shows the library as it is on disk, if it is another one there; called at first and every two seconds."""
        project = self._page.project
        stamp = await asyncio.to_thread(file_stamp, project.feature_library)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        library = await self._page.attempt(load_library, project)
        if library is not None and library != self._library:
            self._take_over(library)

    def _take_over(self, library: FeatureLibrary) -> None:
        self._library = library
        self._show()
        self._page.refresh()

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
        """Shows a dialog with all fields of a preset until they are saved, or nobody wants that any more."""
        dialog = PresetDialog(preset, is_new=instead_of is None)

        def change(entered: Mapping[str, object], library: FeatureLibrary) -> FeatureLibrary:
            return library.with_edited(preset_of(entered), instead_of)

        while (entered := await dialog.entered()) is not None:
            if await self._change(partial(change, entered), f"{entered['title']} is saved."):
                break
        dialog.delete()

    async def _remove(self, preset: Preset) -> None:
        details = ["What is drawn in the tomograms stays as it is."]
        if await confirm(f"Delete the preset {preset.title}?", details, yes="Delete"):
            await self._change(lambda library: library.without(preset.title))

    async def _change(self, change: Callable[[FeatureLibrary], FeatureLibrary], said: str = "") -> bool:
        """Changes the library on disk and here; returns whether that was done, after the page was told why not."""
        library = await self._page.attempt(change_library, self._page.project, change)
        if library is None:
            return False
        self._take_over(library)
        if said:
            ui.notify(said)
        return True

    # From and to Ais

    def _export(self) -> None:
        ui.download.content(ais_library_text(self._library), EXPORT_NAME, "text/plain")

    async def _import(self, event: events.UploadEventArguments) -> None:
        data, name = await event.file.read(), event.file.name
        self._upload.reset()
        imported = await self._page.attempt(parse_ais_library, data, name)
        if imported is not None:
            said = f"{counted(len(imported.presets), 'preset')} imported."
            await self._change(lambda library: library.merged_with(imported), said)

    def _rejected(self) -> None:
        ui.notify(f"That is no feature library: choose Ais' {EXPORT_NAME}.", type="negative")
