"""Buttons that are an icon, with a name for those who cannot see it, and tips."""

from collections.abc import Callable
from typing import Any, TypeVar

from nicegui import ui

Element = TypeVar("Element", bound=ui.element)


def icon_button(icon: str, says: str, on_click: Callable[..., Any] | None = None, *, tip: bool = True) -> ui.button:
    """A button without text; ``says`` is its name, and its tooltip unless ``tip`` is false."""
    button = ui.button(icon=icon, on_click=on_click, color=None).props("flat dense")
    button.props(f'aria-label="{attribute(says)}"')
    return with_tip(button, says) if tip else button


def with_tip(element: Element, says: str) -> Element:
    """The element, with a text that is shown while the pointer is over it.

    It is not ``element.tooltip``, which looks for the element in the document: in a tab that is not shown, nothing is
    in the document, so that the browser's console tells an error and the text is never shown.
    """
    with element:
        ui.tooltip(says)
    return element


def attribute(text: str) -> str:
    """A text that may stand in quotation marks in ``props``."""
    return text.replace("\\", "/").replace('"', "'")
