"""How much a browser may send as a file; what NiceGUI's upload says of that is only kept by the browser itself."""

import re

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

UPLOAD = re.compile(r"/_nicegui/client/[^/]+/upload/[^/]+")
AROUND_A_FILE = 64 << 10
"""Bytes of a request beside the file itself, and more."""


class UploadLimit:
    """ASGI middleware that answers an upload with 413 as soon as it is too long; nothing reads the rest of it.

    Args:
        app: what gets the requests.
        most: the largest file, in bytes.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app = app
        self._most = most + AROUND_A_FILE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands everything on, and counts what is uploaded."""
        left = self._most

        async def counted() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, "This file is too large.")
            return message

        is_upload = scope["type"] == "http" and UPLOAD.search(scope["path"])
        await self.app(scope, counted if is_upload else receive, send)
