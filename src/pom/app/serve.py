"""The server: one process with the pages, the slices and the annotations of one project."""

import errno
import getpass
import logging
import os
import secrets
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pom.errors import PomError
from pom.project.paths import Project

if TYPE_CHECKING:
    from starlette.types import ASGIApp

log = logging.getLogger(__name__)

TITLE = "Pom"
ANNOTATE, BROWSE = "/annotate", "/browse"
SECONDS_TO_END = 3
"""For which the end waits for answers that are still on their way."""
TOKEN_BYTES = 32
MAY = "Whoever has this address can change the annotations and the settings, and start trainings"


def serve(
    project: Project,
    host: str,
    port: int,
    *,
    always_token: bool = False,
    first: str = ANNOTATE,
    tell: Callable[[str], None] = log.info,
) -> None:
    """Serves the pages of a project until Ctrl-C or SIGTERM.

    Args:
        project: the project.
        host: an address or name of this machine; on any but a loopback address a token is demanded.
        port: where it listens; 0: any that is free.
        always_token: whether a token is demanded on a loopback address, too.
        first: the path of the page that one comes to.
        tell: is told, a line each, the address to open once it answers, and how to reach it from elsewhere.

    Raises:
        PomError: the port is taken, or the address is not this machine's; nothing else has begun then.
    """
    listener = listen(host, port)
    with listener:
        # NiceGUI would import matplotlib for an element that is not used here.
        os.environ.setdefault("MATPLOTLIB", "false")
        address, port = listener.getsockname()[:2]
        from pom.app.security import is_loopback

        loopback = is_loopback(address)
        token = None if loopback and not always_token else secrets.token_urlsafe(TOKEN_BYTES)
        app = make_app(project, token, port, first)
        _run(app, listener, lambda: _announce(tell, address, port, token, loopback=loopback))


def make_app(project: Project, token: str | None, port: int, first: str) -> "ASGIApp":
    """The whole server as an ASGI app, guard and all; once in a process, since NiceGUI keeps its app for itself."""
    from fastapi import FastAPI
    from nicegui import ui
    from starlette.middleware.gzip import GZipMiddleware

    from pom.app.annotate.routes import session_routes
    from pom.app.annotate.session import Sessions
    from pom.app.annotate.shared import Shared
    from pom.app.answers import NotFoundError, answer_errors
    from pom.app.browse.browsing import Browsing
    from pom.app.browse.routes import browse_routes
    from pom.app.frame import add_pages
    from pom.app.security import Guard, Nonces
    from pom.app.slices.pictures import Pictures
    from pom.app.slices.routes import slice_routes
    from pom.app.uploads import ELSEWHERE, MOST, BodyLimit

    # Its own addresses of documentation load scripts from elsewhere.
    app = FastAPI(title=TITLE, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(BodyLimit, most=MOST, elsewhere=ELSEWHERE)
    sessions = Sessions(project)
    pictures = Pictures(lambda: sessions.project)
    app.include_router(slice_routes(pictures))
    app.include_router(session_routes(sessions))
    browsing = Browsing(lambda: sessions.project)
    if first == BROWSE:
        browsing.read()  # with pandas that takes a second, which the first page need not
    app.include_router(browse_routes(browsing))

    @app.api_route("/api/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    def nothing(rest: str) -> None:
        raise NotFoundError("There is nothing at this address.")

    answer_errors(app)
    add_pages(project, sessions, Shared(pictures), first)
    # Without a storage secret NiceGUI keeps nothing of its own on disk.
    ui.run_with(app, title=TITLE, dark=True, show_welcome_message=False, gzip_middleware_factory=None)
    # It says with a warning what was not found; the browser says so too.
    logging.getLogger("nicegui").setLevel(logging.ERROR)
    return Guard(GZipMiddleware(Nonces(app), compresslevel=5), token, cookie=f"pom-{port}")


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at an address of this machine.

    Raises:
        PomError: the port is taken or reserved, or the address is not this machine's.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # localhost is two addresses, of which tunnels go to that of IPv4.
        family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
        return socket.create_server((str(address[0]), port), family=family)
    except (OSError, UnicodeError, OverflowError) as error:
        raise PomError(_why_not(host, port, error)) from error


def _why_not(host: str, port: int, error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return f"Port {port} is taken on {host}, perhaps by this very program: give another one with --port."
    if number == errno.EACCES:
        return f"Port {port} is reserved for the system: give one above 1023 with --port."
    if number == errno.EADDRNOTAVAIL or not isinstance(error, OSError) or isinstance(error, socket.gaierror):
        return f"{host} is no address of this machine: leave --host out, or give one of its own addresses."
    reason = getattr(error, "strerror", None) or error
    return f"Nothing can listen at port {port} of {host} ({reason}): give others with --port and --host."


def _announce(tell: Callable[[str], None], address: str, port: int, token: str | None, *, loopback: bool) -> None:
    here = socket.gethostname()
    wildcard = address in ("0.0.0.0", "::")
    shown = f"[{address}]" if ":" in address else address
    tell(f"http://{here if wildcard else shown}:{port}/{f'?token={token}' if token else ''}")
    target = "localhost" if wildcard else shown
    then = "that address" if loopback else f"it with localhost in place of {here if wildcard else shown}"
    tell(f"From another machine: ssh -L {port}:{target}:{port} {_user()}@{here}, and open {then} there.")
    if token is not None and loopback:
        log.warning("%s: give it to nobody else.", MAY)
    elif token is not None:
        log.warning("%s, and nothing is encrypted; without --host it is reached through ssh only.", MAY)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container a user may have a number and no name
        return "USER"


def _run(app: "ASGIApp", listener: socket.socket, started: Callable[[], None]) -> None:
    """Serves until Ctrl-C or SIGTERM, either of which is the usual end and no error."""
    import uvicorn

    class Server(uvicorn.Server):
        """Tells when it has started, and does not pass the signals on that it ended by."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                started()

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    config = uvicorn.Config(
        app, ws="wsproto", log_config=None, log_level="warning", access_log=False, proxy_headers=False,
        server_header=False, timeout_graceful_shutdown=SECONDS_TO_END,
    )  # fmt: skip
    Server(config).run([listener])
