"""The bar above the canvas of a page that may not change anything: who edits, and what can be done about it."""

from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui

from pom.app.annotate.document import Stamp
from pom.app.annotate.known import Known

NOBODY = "You are looking. Nobody edits this tomogram now."
READ_ONLY = "You may look, but not change anything."


class Banner:
    """Hidden while the page may edit.

    Args:
        edit_here: takes the right to edit.
        draw_anew: has the canvas read the annotation again.
    """

    def __init__(self, edit_here: Callable[[], Awaitable[Any]], draw_anew: Callable[[], Any]) -> None:
        self._drawn: Stamp = ""
        self._known: Known | None = None
        self._draw_anew = draw_anew
        with ui.row().classes("pom-banner").props("role=alert") as self._bar:
            self._text = ui.label()
            self._edit = ui.button("Edit here", on_click=edit_here).props("dense outline")
            self._newer = ui.button("Show the changes", on_click=self._show_changes).props("dense outline")
        self._bar.set_visibility(False)

    def drawn(self, stamp: Stamp) -> None:
        """Notes which state of the annotation the canvas begins with."""
        self._drawn = stamp

    def show(self, known: Known, *, may_edit: bool) -> None:
        """Says how things stand."""
        self._known = known
        free = known.editor is None and not known.fault
        self._bar.set_visibility(bool(known.fault) or not may_edit)
        self._text.text = known.fault or (NOBODY if known.editor is None else f"{known.editor.sentence()} {READ_ONLY}")
        self._edit.set_visibility(free)
        self._newer.set_visibility(known.stamp != self._drawn)

    def _show_changes(self) -> None:
        if self._known is not None:
            self._drawn = self._known.stamp
        self._draw_anew()
        self._newer.set_visibility(False)
