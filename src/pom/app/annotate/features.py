"""The features of the tomogram on the page: what is drawn, in which colour, and how much there is of it."""

from functools import partial
from typing import TYPE_CHECKING

from nicegui import ui

from pom.app.annotate.dialogs import ask_text, confirm
from pom.app.annotate.document import counts
from pom.app.annotate.feature_row import FeatureRow, amount
from pom.io.annotation_store import StoredFeature
from pom.io.feature_library import LARGEST_BOX, Preset
from pom.words import counted

if TYPE_CHECKING:
    from pom.app.annotate.page import AnnotatePage
    from pom.app.annotate.session import Session

SECONDS_TO_UNDO = 20


class FeaturesPanel:
    """One row per feature, the active one opened."""

    def __init__(self, page: "AnnotatePage") -> None:
        self.page = page
        self._rows: dict[str, FeatureRow] = {}
        self._list = ui.element("div").classes("pom-features").props('role=list aria-label="Features"')
        self._none = ui.label("Nothing is annotated here yet. Add what you want to draw.")
        self._none.classes("pom-muted pom-none")
        with ui.button("Add a feature", icon="sym_o_add").props("dense outline").classes("pom-add") as self._add:
            self._menu = ui.menu().props("max-height=70vh")
            self._menu.on("before-show", self._fill_menu)
        self._add.disable()  # until there is a tomogram
        self._removed = ui.element("div")

    # Showing

    def clear(self) -> None:
        """Forgets the features of one tomogram before another is shown, whose features bear the same ids."""
        self._rows = {}
        self._list.clear()
        self._removed.clear()

    def refresh(self) -> None:
        """Brings the rows up to date; one is made or removed only where its feature comes or goes."""
        features = self.page.features()
        ids = [feature.id for feature in features]
        for gone in self._rows.keys() - set(ids):
            self._rows.pop(gone).element.delete()
        for number, feature in enumerate(features, 1):
            if feature.id not in self._rows:
                with self._list:
                    self._rows[feature.id] = FeatureRow(self, feature)
            self._rows[feature.id].show(number, feature)
        self._none.set_visibility(not features)
        self._add.set_enabled(self.page.may_edit)

    def _feature(self, feature_id: str) -> StoredFeature | None:
        return next((feature for feature in self.page.features() if feature.id == feature_id), None)

    def _fill_menu(self) -> None:
        """What can be added: the library's titles and the ontologies that are not there yet, new ones, removed ones."""
        page = self.page
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
            for feature in page.editing.known.removed:
                ui.menu_item(
                    f"Put {feature.title} back, with {amount(feature)}",
                    partial(page.act, self.put_back, page.session, feature),
                )

    # Looking

    def show_or_hide(self, feature_id: str) -> None:
        """Shows what is drawn of a feature, or hides it."""
        hidden = self.page.view.hidden
        self.page.push(hidden=hidden - {feature_id} if feature_id in hidden else hidden | {feature_id})
        self.refresh()

    def fade(self, feature_id: str, opacity: float) -> None:
        """Changes how opaque what is drawn of a feature is."""
        self.page.push(opacity={**self.page.view.opacity, feature_id: opacity})

    def jump(self, feature_id: str, direction: int) -> None:
        """Goes to the next slice with something of a feature, or to the one before."""
        feature = self._feature(feature_id)
        if feature is not None:
            self.page.next_annotated(direction, feature)

    # Changing

    async def _add_new(self) -> None:
        title = await ask_text("What do you want to draw?", confirm="Add")
        if title is not None:
            await self.add(title)

    async def add(self, title: str) -> None:
        """Adds a feature, as the library has it if it does, and makes it the one that is drawn."""
        page = self.page
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
            hidden = self.page.view.hidden
            self.page.push(
                brush=preset.brush_size,
                opacity={**self.page.view.opacity, feature_id: preset.alpha},
                hidden=hidden | {feature_id} if preset.hide else hidden - {feature_id},
            )
            self.page.options.refresh()

    async def recolour(self, feature_id: str, colour: str) -> None:
        """Gives a feature another colour."""
        await self._change(feature_id, colour=colour)

    async def assign(self, feature_id: str, preset: Preset) -> None:
        """Makes a feature look as a preset of the library."""
        values = {"title": preset.title, "colour": preset.hex_colour, "box_size": preset.box_size}
        if await self._change(feature_id, **values):
            self._adopt(feature_id, preset)

    async def _change(self, feature_id: str, **values: object) -> bool:
        session = self.page.session
        if session is None:
            return False

        def change() -> bool:
            session.change_feature(feature_id, **values)  # type: ignore[arg-type]
            return True

        return await self.page.attempt(change) is True

    def _is_still_open(self, session: "Session | None") -> bool:
        """Whether a dialog that was opened for a tomogram may still act: ids are alike in all tomograms."""
        if session is None or session is not self.page.session:
            ui.notify("Another tomogram was opened meanwhile, so nothing was changed.", type="warning")
            return False
        return True

    async def rename(self, feature_id: str) -> None:
        """Asks for another title."""
        feature = self._feature(feature_id)
        if feature is None:
            return
        session = self.page.session
        title = await ask_text(f"Rename {feature.title}", feature.title, confirm="Rename")
        if title is not None and self._is_still_open(session):
            await self._change(feature.id, title=title)

    async def resize(self, feature_id: str) -> None:
        """Asks for another side of a feature's boxes."""
        feature = self._feature(feature_id)
        if feature is None:
            return
        session = self.page.session
        question = f"Side of the boxes of {feature.title}"
        size = await ask_text(question, str(feature.box_size), confirm="Change", label="Pixels of the tomogram")
        if size is None:
            return
        if not size.isdecimal() or not 0 < int(size) <= LARGEST_BOX:
            said = f"The side of a box is a whole number of pixels, from 1 to {LARGEST_BOX}."
            ui.notify(said, type="negative")
            return
        if self._is_still_open(session):
            await self._change(feature.id, box_size=int(size))

    async def add_to_library(self, feature_id: str) -> None:
        """Makes a preset of a feature."""
        feature = self._feature(feature_id)
        if feature is not None:
            await self.page.library.take(feature)

    async def remove(self, feature_id: str) -> None:
        """Removes a feature, if that is meant; it can be put back for a while."""
        page, feature = self.page, self._feature(feature_id)
        if feature is None:
            return
        session = page.session
        boxes, slices = counts(feature)
        drawn = f"what is drawn of it in {counted(slices, 'slice')}"
        what = [f"{counted(boxes, 'box', 'boxes')} and {drawn} go. They can be put back afterwards."]
        if not await confirm(
            f"Remove {feature.title} from {page.shown.name if page.shown else ''}?", what, yes="Remove"
        ):
            return
        if session is None or not self._is_still_open(session):
            return
        removed = await page.attempt(session.remove_feature, feature.id)
        if removed is not None and page.session is session:
            self._offer_to_put_back(session, removed)

    def _offer_to_put_back(self, session: "Session", feature: StoredFeature) -> None:
        """A bar with a button for as long as the removal is fresh in mind; the menu offers it after that, too."""
        with self._removed, ui.element("div").classes("pom-undo-bar").props("role=status") as bar:
            ui.label(f"{feature.title} was removed.")
            button = ui.button("Put it back").props("dense outline")
            going = ui.timer(SECONDS_TO_UNDO, bar.delete, once=True)

        async def put_back() -> None:
            going.cancel()
            button.disable()
            done = await self.put_back(session, feature)
            if bar.is_deleted:  # another tomogram was opened meanwhile
                return
            if done:
                bar.delete()
            else:
                button.enable()

        button.on_click(partial(self.page.act, put_back))

    async def put_back(self, session: "Session", feature: StoredFeature) -> bool:
        """Puts a removed feature of a tomogram back; returns whether that was done."""
        page = self.page
        if not self._is_still_open(session) or await page.attempt(session.put_back, feature.id) is None:
            return False
        if page.session is session:
            page.canvas.read_again()
            page.activate(feature.id)
        return True

    async def add_ontology(self, feature_id: str) -> None:
        """Writes a feature's title into the configuration, so that networks can learn it."""
        page, feature = self.page, self._feature(feature_id)
        if feature is None:
            return
        title = feature.title

        def add() -> bool:
            page.sessions.current.add_ontology(title)
            return True

        if await page.attempt(add):
            ui.notify(f"{title} is an ontology now: networks can be trained for it.")
            page.refresh()
