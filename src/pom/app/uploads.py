"""How much a browser may send; what NiceGUI's upload says of that is only kept by the browser itself."""

from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pom.io.feature_library import LARGEST_FILE
from pom.workflow.subsets import LARGEST_LIST

AROUND_A_FILE = 64 << 10
"""Bytes of a request beside the file itself, and more."""
MOST = LARGEST_FILE + AROUND_A_FILE
ELSEWHERE = {"/api/sessions/": 64 << 20, "/api/subsets": LARGEST_LIST}
"""A slice of 16,384 x 16,384 pixels takes 45 MB."""


class BodyLimit:
    """ASGI middleware that answers a request with 413 as soon as its body is too long; nothing reads the rest of it.

    Args:
        app: what gets the requests.
        most: the longest body, in bytes.
        elsewhere: the longest body by how the path begins, where it is another one.
    """

    def __init__(self, app: ASGIApp, most: int, elsewhere: Mapping[str, int]) -> None:
        self.app = app
        self._most = most
        self._elsewhere = elsewhere

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands everything on, and counts what comes of a body."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        most = next((most for path, most in self._elsewhere.items() if scope["path"].startswith(path)), self._most)
        too_large = f"This is too large: more than {most >> 20} MiB are not taken here."
        said = dict(scope.get("headers", ())).get(b"content-length", b"")
        refused, begun = said.isdigit() and int(said) > most, False
        left = most

        async def counted() -> Message:
            nonlocal left, refused
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                refused = True
                raise HTTPException(413, too_large)
            return message

        async def answered(message: Message) -> None:
            nonlocal begun
            # What is made of it further in is not sent: NiceGUI's own app would answer 500.
            if begun or not refused:
                begun = True
                await send(message)

        try:
            if not refused:
                await self.app(scope, counted, answered)
        except Exception:
            if begun or not refused:
                raise
        if refused and not begun:
            await JSONResponse({"error": too_large}, 413)(scope, receive, send)
