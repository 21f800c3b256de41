"""The browser's address bar, which says what is shown, so that it can be sent and loaded again."""

import asyncio
import json
from collections.abc import Callable

from nicegui import ui

from pom.app.frame import address_of

SECONDS_BETWEEN = 0.3
"""While somebody scrolls, the address follows in such steps: browsers refuse to change it very often."""


class AddressBar:
    """Of one page.

    Args:
        shown: the tomogram and slice on the page; None before there is one.
    """

    def __init__(self, shown: Callable[[], tuple[str, int] | None]) -> None:
        self._shown = shown
        self._client = ui.context.client
        self._url = ""
        self._waiting = False

    def show(self) -> None:
        """Shows the slice; another tomogram becomes an entry of the history, but for the page's first one.

        That takes the place of the address that was asked for: 'back' leads out of the page.
        """
        shown = self._shown()
        url = self._url if shown is None else address_of(*shown)
        if url != self._url:
            another = bool(self._url) and url.partition("?")[0] != self._url.partition("?")[0]
            self._url = url
            what = "pushState" if another else "replaceState"
            ui.run_javascript(f"history.{what}(history.state, '', {json.dumps(url)})")

    def show_soon(self) -> None:
        """The same, not more often than browsers like."""
        if not self._waiting:
            self._waiting = True
            asyncio.get_running_loop().call_later(SECONDS_BETWEEN, self._show_now)

    def _show_now(self) -> None:
        self._waiting = False
        if not self._client.is_deleted:
            with self._client:
                self.show()
