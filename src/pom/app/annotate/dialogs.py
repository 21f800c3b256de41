"""Small questions that the panels ask."""

from collections.abc import Sequence

from nicegui import ui


async def ask_text(question: str, value: str = "", *, confirm: str = "OK", label: str = "Title") -> str | None:
    """Asks for a text; None where the person changes their mind."""
    with ui.context.client, ui.dialog() as dialog, ui.card():
        ui.label(question).classes("pom-heading")
        field = ui.input(label, value=value).props("dense outlined autofocus").classes("w-full")
        field.on("keydown.enter", lambda: dialog.submit(field.value))
        _buttons(dialog, confirm, lambda: dialog.submit(field.value))
    answer = await dialog
    dialog.delete()
    return answer.strip() if isinstance(answer, str) and answer.strip() else None


async def confirm(question: str, details: Sequence[str], *, yes: str) -> bool:
    """Asks whether something is meant; ``yes`` is the button that says so."""
    with ui.context.client, ui.dialog() as dialog, ui.card():
        ui.label(question).classes("pom-heading")
        for line in details:
            ui.label(line)
        _buttons(dialog, yes, lambda: dialog.submit(True))
    answer = await dialog
    dialog.delete()
    return answer is True


def _buttons(dialog: ui.dialog, confirm: str, on_confirm: object) -> None:
    with ui.row().classes("w-full justify-end gap-2"):
        ui.button("Cancel", on_click=dialog.close).props("flat")
        ui.button(confirm, on_click=on_confirm).props("unelevated text-color=dark")  # type: ignore[arg-type]
