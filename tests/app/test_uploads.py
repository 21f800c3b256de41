import asyncio

import pytest
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from pom.app.uploads import ELSEWHERE, MOST, BodyLimit
from pom.io.feature_library import LARGEST_FILE
from pom.workflow.subsets import LARGEST_LIST

LIMITS = {"/api/lists": 5000, "/api/sessions/": 9000}


def sent_on(path: str, sizes: list[int], kind: str = "http") -> int:
    """How many bytes of a request in parts of these sizes get through a limit of 1000 bytes, and of ``LIMITS``."""
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

    asyncio.run(BodyLimit(app, 1000, LIMITS)({"type": kind, "path": path}, receive, send))
    return got


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/_nicegui/client/abc/upload/7", 1000), ("/api/settings/preview", 1000), ("/anything", 1000),
        ("/api/lists", 5000), ("/api/lists/import", 5000), ("/api/sessions/abc/patches", 9000),
    ],
)  # fmt: skip
def test_a_body_is_counted_as_it_comes(path: str, most: int) -> None:
    assert sent_on(path, [500, most - 501, 1]) == most
    with pytest.raises(HTTPException, match="too large") as caught:
        sent_on(path, [500, most - 500, 1, 10**9])
    assert caught.value.status_code == 413


def test_a_websocket_goes_on() -> None:
    assert sent_on("/_nicegui_ws", [10**6], kind="websocket") == 10**6


def test_all_that_is_meant_to_come_fits() -> None:
    assert MOST > LARGEST_FILE
    assert ELSEWHERE["/api/subsets"] >= LARGEST_LIST
    assert ELSEWHERE["/api/sessions/"] > 16_384 * 16_384 // 8 * 4 / 3  # in base64
