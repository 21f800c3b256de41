import asyncio

import pytest
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from pom.app.uploads import AROUND_A_FILE, UploadLimit

UPLOAD = {"type": "http", "path": "/_nicegui/client/abc/upload/7"}


def sent_on(scope: Scope, sizes: list[int]) -> int:
    """How many bytes of an upload in parts of these sizes get through a limit of 1000 bytes."""
    parts = iter(sizes)
    got = 0

    async def receive() -> Message:
        return {"type": "http.request", "body": bytes(next(parts)), "more_body": True}

    async def send(message: Message) -> None:
        raise AssertionError(message)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal got
        for _ in sizes:
            got += len((await receive())["body"])

    asyncio.run(UploadLimit(app, 1000)(scope, receive, send))
    return got


def test_an_upload_is_counted_as_it_comes() -> None:
    assert sent_on(UPLOAD, [500, 500, AROUND_A_FILE]) == 1000 + AROUND_A_FILE
    with pytest.raises(HTTPException, match="too large") as caught:
        sent_on(UPLOAD, [1000, AROUND_A_FILE, 1, 10**9])
    assert caught.value.status_code == 413
    assert sent_on({**UPLOAD, "path": "/api/sessions/abc/patches"}, [10**6]) == 10**6
