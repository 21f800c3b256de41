"""Who may talk to the server: checked before anything else of it sees a request or a websocket."""

import ipaddress
import re
import secrets
from collections.abc import Iterable
from html import escape
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_PARAMETER = "token"
LOOPBACK_NAME = "localhost"
HOST = re.compile(r"(?P<name>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>\d{1,5}))?")
DEFAULT_PORTS = {"http": "80", "https": "443"}
FOREIGN_SITES = ("cross-site", "same-site")
"""What a browser says in Sec-Fetch-Site where another page asks; ``same-site`` is one at another port."""
FORWARDED = b"x-forwarded-"
NONCE = "pom.nonce"
SCRIPT = re.compile(rb"<script(?=[\s>])")

FOREIGN_HOST = (
    "This server answers to localhost and 127.0.0.1 only: open the address that the command printed, or reach it "
    "through ssh -L."
)
FOREIGN_ORIGIN = "Another page asked for this: open the address that the command printed in a tab of its own."
NO_TOKEN = "This server wants its token: open the whole address that the command printed, with ?token= and all."


class Guard:
    """ASGI middleware, to be put outermost, that refuses strangers with 403 and a sentence.

    A page of another site must not reach the server through the browser of the person who annotates: neither under
    a name of its own that it points here (DNS rebinding: the Host must be a loopback name), nor by a request or a
    websocket of its own (the Origin must be the Host). Where the server listens on more than loopback, a token takes
    the place of the check of the Host, since it is not known under which names it goes there: it comes once in the
    address, and from then on in a cookie.

    Args:
        app: what is guarded.
        token: which every request must bear; None: the server listens on loopback only, and wants none.
        cookie: the name of the cookie; servers on several ports of a host share their cookies, so it should have
            the port in it.
    """

    def __init__(self, app: ASGIApp, token: str | None = None, cookie: str = "pom") -> None:
        self.app = app
        self._token = token
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a stranger, and hands everything else on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        # NiceGUI would put a forwarded prefix into its pages.
        headers = [pair for pair in scope["headers"] if not pair[0].startswith(FORWARDED)]
        scope = {**scope, "headers": headers, NONCE: secrets.token_urlsafe(16)}
        answer = self._answer(scope)
        if scope["type"] == "http":
            send = _hardened(send, scope[NONCE])
        if answer is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http" or "websocket.http.response" in scope.get("extensions", {}):
            await answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def _answer(self, scope: Scope) -> Response | None:
        """What a stranger gets, and who brings the token; None: the request may pass."""
        headers = Headers(scope=scope)
        host = _host(headers.getlist("host"))
        if host is None or (self._token is None and not is_loopback(host[0])):
            return _refusal(scope, FOREIGN_HOST)
        if not _is_own_page(scope, headers, host):
            return _refusal(scope, FOREIGN_ORIGIN)
        if self._token is None:
            return None
        return self._check_token(scope, headers, self._token)

    def _check_token(self, scope: Scope, headers: Headers, token: str) -> Response | None:
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for key, value in query if key == TOKEN_PARAMETER]
        if given and scope["type"] == "http" and scope["method"] == "GET" and _is_among(token, given):
            rest = [(key, value) for key, value in query if key != TOKEN_PARAMETER]
            return self._welcome(_here(scope["path"], rest), token, headers)
        if _is_among(token, _cookies(headers, self._cookie)):
            return None
        return _refusal(scope, NO_TOKEN)

    def _welcome(self, address: str, token: str, headers: Headers) -> Response:
        """Turns the token into a cookie, and takes it out of the address bar."""
        answer: Response
        if headers.get("sec-fetch-site") in FOREIGN_SITES:
            # Who comes by a link on another site bears no strict cookie on a redirect, but does on a second request.
            answer = HTMLResponse(f'<meta http-equiv="refresh" content="0; url={escape(address)}">')
        else:
            answer = RedirectResponse(address, status_code=303)
        answer.set_cookie(self._cookie, token, httponly=True, samesite="strict", path="/")
        answer.headers["cache-control"] = "no-store"
        return answer


class Nonces:
    """ASGI middleware that marks the scripts which NiceGUI writes into a page as its own, for the guard's policy.

    Anything that compresses belongs outside it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a page through once it is whole, and everything else as it comes."""
        start: Message | None = None
        page = b""

        async def mark(message: Message) -> None:
            nonlocal start, page
            if message["type"] == "http.response.start" and "x-nicegui-content" in Headers(raw=message["headers"]):
                start = message
            elif start is None or message["type"] != "http.response.body":
                await send(message)
            else:
                page += message.get("body", b"")
                if not message.get("more_body", False):
                    page = SCRIPT.sub(b'<script nonce="%s"' % scope[NONCE].encode(), page)
                    MutableHeaders(scope=start)["content-length"] = str(len(page))
                    await send(start)
                    await send({"type": "http.response.body", "body": page})

        await self.app(scope, receive, mark if scope["type"] == "http" else send)


def _hardened(send: Send, nonce: str) -> Send:
    """Sends on what an app sends, with headers that tell the browser what a page may do.

    No host but this one; no frame; no script but those of this server and those that it wrote into the page itself,
    which a nonce marks. NiceGUI compiles its templates in the browser, so ``unsafe-eval`` it must be.
    """
    policy = (
        f"default-src 'none'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )

    async def harden(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["content-security-policy"] = policy
            headers["x-content-type-options"] = "nosniff"
            headers["cross-origin-resource-policy"] = "same-origin"
            headers["referrer-policy"] = "same-origin"
        await send(message)

    return harden


def is_loopback(name: str) -> bool:
    """Whether a host's name or address, an IPv6 address with or without its brackets, means this machine itself."""
    if name.lower() == LOOPBACK_NAME:
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _host(given: list[str]) -> tuple[str, str | None] | None:
    """Name and port of the one Host header; None where there is none, more than one, or nonsense."""
    match = HOST.fullmatch(given[0]) if len(given) == 1 else None
    return (match["name"].lower(), match["port"]) if match else None


def _is_own_page(scope: Scope, headers: Headers, host: tuple[str, str | None]) -> bool:
    """Whether a page of this server asks, or nobody's page: a program, or the address bar."""
    for origin in headers.getlist("origin"):
        scheme, _, rest = origin.partition("://")
        asking = _host([rest])
        if asking is None or scheme not in DEFAULT_PORTS:
            return False
        if (asking[0], asking[1] or DEFAULT_PORTS[scheme]) != (host[0], host[1] or DEFAULT_PORTS[scheme]):
            return False
    if headers.get("sec-fetch-site") not in FOREIGN_SITES:
        return True
    # A link elsewhere may lead here; a picture, a frame or a form elsewhere may not.
    followed = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return followed and scope["type"] == "http" and scope["method"] == "GET"


def _is_among(token: str, given: Iterable[str]) -> bool:
    """Whether one of those given is the token; how long that takes tells nothing about it."""
    return any(secrets.compare_digest(token.encode(), each.encode("utf-8", "replace")) for each in given)


def _cookies(headers: Headers, name: str) -> list[str]:
    """All cookies of a name; there can be several, of several paths."""
    pairs = [pair.strip().partition("=") for line in headers.getlist("cookie") for pair in line.split(";")]
    return [value for key, _, value in pairs if key == name]


def _here(path: str, query: list[tuple[str, str]]) -> str:
    """An address on this server; two slashes at its beginning would name another one."""
    address = "/" + quote(path.lstrip("/"))
    return f"{address}?{urlencode(query)}" if query else address


def _refusal(scope: Scope, sentence: str) -> Response:
    if scope["path"].startswith("/api/"):
        return JSONResponse({"error": sentence}, status_code=403)
    return PlainTextResponse(sentence + "\n", status_code=403)
