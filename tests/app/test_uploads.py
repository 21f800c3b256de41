import asyncio
import json
from collections.abc import Sequence
from functools import partial

import pytest
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pom.app.uploads import ELSEWHERE, MOST, BodyLimit
from pom.io.feature_library import LARGEST_FILE
from pom.workflow.subsets import LARGEST_LIST

LIMITS = {"/api/lists": 5000, "/api/sessions/": 9000}


async def read(got: list[int], scope: Scope, receive: Receive, send: Send) -> None:
    """An app that notes the sizes of a request's parts, and answers nothing."""
    more = True
    while more:
        message = await receive()
        got.append(len(message["body"]))
        more = message["more_body"]


async def answer(status: int, send: Send) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


def ask(app: ASGIApp, path: str, sizes: Sequence[int], kind: str = "http", length: bytes = b"") -> list[Message]:
    """What is answered to a request in parts of these sizes, through a limit of 1000 bytes, and of ``LIMITS``."""
    parts = [{"type": "http.request", "body": bytes(size), "more_body": True} for size in sizes]
    parts[-1]["more_body"] = False
    waiting, answers = iter(parts), []

    async def receive() -> Message:
        return next(waiting)

    async def send(message: Message) -> None:
        answers.append(message)

    scope = {"type": kind, "path": path, "headers": [(b"content-length", length)] if length else []}
    asyncio.run(BodyLimit(app, 1000, LIMITS)(scope, receive, send))
    return answers


def assert_refused(answers: Sequence[Message]) -> None:
    start, body = answers
    assert start["status"] == 413
    assert "too large" in json.loads(body["body"])["error"]


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/_nicegui/client/abc/upload/7", 1000), ("/api/settings/preview", 1000), ("/anything", 1000),
        ("/api/lists", 5000), ("/api/lists/import", 5000), ("/api/sessions/abc/patches", 9000),
    ],
)  # fmt: skip
def test_a_body_is_counted_as_it_comes(path: str, most: int) -> None:
    got: list[int] = []
    assert ask(partial(read, got), path, [500, most - 501, 1]) == []
    assert sum(got) == most
    got.clear()
    assert_refused(ask(partial(read, got), path, [500, most - 500, 1, 10**6]))
    assert sum(got) == most


def test_a_body_that_is_said_to_be_too_long_is_not_read() -> None:
    got: list[int] = []
    assert_refused(ask(partial(read, got), "/anything", [1], length=b"1001"))
    assert got == []
    assert ask(partial(read, got), "/anything", [1000], length=b"1000") == []
    assert got == [1000]


@pytest.mark.parametrize("passes", [True, False])
def test_what_another_app_makes_of_the_refusal_is_not_sent(passes: bool) -> None:
    # NiceGUI's own answers 500 to it, in chunks, which say no length before.
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await read([], scope, receive, send)
        except HTTPException as error:
            await answer(500, send)
            if passes:
                raise ExceptionGroup("of a task", [error]) from error

    assert_refused(ask(app, "/_nicegui/client/abc/upload/7", [900, 200]))


def test_other_answers_and_faults_pass() -> None:
    async def early(scope: Scope, receive: Receive, send: Send) -> None:
        await answer(200, send)
        await read([], scope, receive, send)

    with pytest.raises(HTTPException):  # there is no other answer to one that has begun
        ask(early, "/anything", [900, 200])

    async def fault(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask(fault, "/anything", [1])
    assert [each.get("status") for each in ask(early, "/anything", [900])] == [200, None]


def test_a_websocket_goes_on() -> None:
    got: list[int] = []
    ask(partial(read, got), "/_nicegui_ws", [10**6], kind="websocket")
    assert got == [10**6]


def test_all_that_is_meant_to_come_fits() -> None:
    assert MOST > LARGEST_FILE
    assert ELSEWHERE["/api/subsets"] >= LARGEST_LIST
    assert ELSEWHERE["/api/sessions/"] > 16_384 * 16_384 // 8 * 4 / 3  # in base64
