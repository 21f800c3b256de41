"""Buttons that are an icon, with a name for those who cannot see it."""

from collections.abc import Callable
from typing import Any

from nicegui import ui


def icon_button(icon: str, says: str, on_click: Callable[..., Any] | None = None, *, tip: bool = True) -> ui.button:
    """A button without text; ``says`` is its name, and its tooltip unless ``tip`` is false."""
    button = ui.button(icon=icon, on_click=on_click, color=None).props("flat dense")
    button.props(f'aria-label="{attribute(says)}"')
    return button.tooltip(says) if tip else button


def attribute(text: str) -> str:
    """A text that may stand in quotation marks in ``props``."""
    return text.replace("\\", "/").replace('"', "'")
