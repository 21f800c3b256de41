import base64
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from pom.app.security import FOREIGN_HOST, FOREIGN_ORIGIN, NO_TOKEN, Guard, Nonces, is_loopback
from pom.app.serve import listen
from pom.errors import PomError
from pom.project.paths import Project

TOKEN = "right-token"
COOKIE = "pom-8000"
MakeProject = Callable[..., Project]


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("hello")
    await websocket.close()


def guarded(token: str | None = None, address: str = "http://127.0.0.1:8000") -> TestClient:
    def page(request: object) -> HTMLResponse:
        text = "<script>1</script><script type='module'>2</script><p>&lt;script>"
        return HTMLResponse(text, headers={"x-nicegui-content": "page"})

    def text(request: object) -> PlainTextResponse:
        return PlainTextResponse("<script>")

    routes = [Route("/page", page), Route("/api/x", text), WebSocketRoute("/ws", echo)]
    routes.append(Route("/{rest:path}", text, methods=["GET", "POST"]))
    app = Guard(Nonces(Starlette(routes=routes)), token, COOKIE)
    return TestClient(app, base_url=address, follow_redirects=False)


def hears_hello(client: TestClient, headers: dict[str, str]) -> bool:
    try:
        with client.websocket_connect("/ws", headers=headers) as websocket:
            return websocket.receive_text() == "hello"
    except WebSocketDisconnect:
        return False
    except Exception as error:  # the test client's own for a refused handshake, with the answer
        assert getattr(error, "status_code", 403) == 403
        return False


@pytest.mark.parametrize(
    ("host", "passes"),
    [
        ("127.0.0.1:8000", True), ("localhost:8000", True), ("localhost:61234", True), ("127.0.0.1", True),
        ("LOCALHOST:1", True), ("[::1]:8000", True), ("127.5.5.5:80", True),
        ("evil.example", False), ("evil.example:8000", False), ("localhost.evil.example", False),
        ("127.0.0.1.evil.example:8000", False), ("0.0.0.0:8000", False), ("192.168.1.5:8000", False),
        ("localhost@evil.example", False), ("localhost:8000/x", False), ("localhost:a", False), ("", False),
        ("[::2]:8000", False), ("localhost, evil.example", False),
    ],
)  # fmt: skip
def test_on_loopback_the_host_must_be_a_loopback_name(host: str, passes: bool) -> None:
    client = guarded()
    answer = client.get("/page", headers={"host": host})
    assert answer.status_code == (200 if passes else 403)
    assert passes or answer.text == FOREIGN_HOST + "\n"
    assert hears_hello(client, {"host": host}) is passes


def test_one_host_header_and_no_more() -> None:
    answer = guarded().get("/page", headers=[("host", "localhost"), ("host", "localhost")])
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("origin", "passes"),
    [
        ("http://127.0.0.1:8000", True), ("http://127.0.0.1:9000", False), ("http://localhost:8000", False),
        ("http://evil.example", False), ("null", False), ("", False), ("https://127.0.0.1:8000", True),
        ("file://", False), ("http://127.0.0.1:8000.evil.example", False), ("http://127.0.0.1", False),
    ],
)  # fmt: skip
def test_the_origin_must_be_the_host(origin: str, passes: bool) -> None:
    client = guarded()
    headers = {"host": "127.0.0.1:8000", "origin": origin}
    for answer in (client.get("/", headers=headers), client.post("/", headers=headers)):
        assert answer.status_code == (200 if passes else 403)
        assert passes or answer.text == FOREIGN_ORIGIN + "\n"
    assert hears_hello(client, headers) is passes


def test_default_ports_may_be_left_out() -> None:
    assert guarded().get("/", headers={"host": "localhost", "origin": "http://localhost:80"}).status_code == 200
    assert guarded().get("/", headers={"host": "localhost:443", "origin": "https://localhost"}).status_code == 200
    assert guarded().get("/", headers={"host": "localhost", "origin": "https://localhost:80"}).status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_pages_may_link_here_but_not_show_what_is_here(site: str) -> None:
    client = guarded()
    link = {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get("/", headers=link).status_code == 200
    assert client.post("/", headers=link).status_code == 403
    assert client.get("/", headers={**link, "sec-fetch-dest": "iframe"}).status_code == 403
    assert client.get("/", headers={"sec-fetch-site": site, "sec-fetch-mode": "no-cors"}).status_code == 403
    assert client.get("/", headers={"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}).status_code == 200


def test_without_the_token_nothing_is_answered() -> None:
    client = guarded(TOKEN, "http://server.example:8000")
    for path in ("/", "/page", "/?token=", "/?token=wrong", f"/?Token={TOKEN}", "/_nicegui/static/x", "/?token=%C3%A9"):
        answer = client.get(path)
        assert (answer.status_code, answer.text) == (403, NO_TOKEN + "\n")
        assert "set-cookie" not in answer.headers
    assert client.get("/api/x").json() == {"error": NO_TOKEN}
    assert client.post(f"/?token={TOKEN}").status_code == 403
    assert not hears_hello(client, {})
    assert not hears_hello(client, {"cookie": f"{COOKIE}=wrong"})
    assert not hears_hello(client, {"cookie": f"other={TOKEN}"})


def test_the_token_becomes_a_cookie_and_leaves_the_address() -> None:
    client = guarded(TOKEN, "http://server.example:8000")
    answer = client.get(f"/annotate/TS%201?z=3&token={TOKEN}&a=b%26c")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/annotate/TS%201?z=3&a=b%26c"
    assert answer.headers["cache-control"] == "no-store"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{COOKIE}={TOKEN};")
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Path=/" in cookie
    assert client.get(answer.headers["location"]).status_code == 200
    assert hears_hello(client, {"cookie": f"a=b; {COOKIE}={TOKEN}"})
    foreign = {"cookie": f"{COOKIE}={TOKEN}", "origin": "http://evil.example"}
    assert not hears_hello(client, foreign)
    assert client.post("/", headers=foreign).status_code == 403


@pytest.mark.parametrize("path", ["//evil.example/", "/%5Cevil.example", "///evil.example"])
def test_the_redirect_stays_on_this_server(path: str) -> None:
    app = Guard(Starlette(), TOKEN, COOKIE)
    with TestClient(app, base_url="http://server.example", follow_redirects=False) as client:
        answer = client.get(f"http://server.example{path}?token={TOKEN}")
    assert re.match(r"/[^/\\]", answer.headers["location"])


def test_a_link_on_another_site_works_with_a_strict_cookie() -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    answer = guarded(TOKEN, "http://server.example").get(f'/a"b?token={TOKEN}', headers=headers)
    assert answer.status_code == 200
    assert answer.text == '<meta http-equiv="refresh" content="0; url=/a%22b">'
    assert TOKEN in answer.headers["set-cookie"]


def test_every_answer_says_what_the_browser_may_do_with_it() -> None:
    client = guarded()
    answers = [client.get("/page"), client.get("/api/x"), client.get("/", headers={"host": "evil.example"})]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
        assert "http:" not in policy and "*" not in policy
        assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_the_scripts_of_a_page_bear_a_nonce_of_their_own() -> None:
    client = guarded()
    answer = client.get("/page")
    found = re.search(r"'nonce-([\w-]+)'", answer.headers["content-security-policy"])
    assert found is not None
    nonce = found[1]
    assert answer.text == (
        f'<script nonce="{nonce}">1</script><script nonce="{nonce}" type=\'module\'>2</script><p>&lt;script>'
    )
    assert client.get("/page").headers["content-security-policy"] != answer.headers["content-security-policy"]
    assert client.get("/api/x").text == "<script>"


@pytest.mark.parametrize(
    ("name", "is_it"),
    [("localhost", True), ("127.0.0.1", True), ("::1", True), ("[::1]", True), ("0.0.0.0", False), ("::", False),
     ("10.0.0.1", False), ("localhost.", False), ("127.1", False)],
)  # fmt: skip
def test_loopback(name: str, is_it: bool) -> None:
    assert is_loopback(name) is is_it


def test_where_nothing_can_listen() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PomError, match=f"Port {port} is taken on 127.0.0.1.*--port"):
            listen("127.0.0.1", port)
    for host in ("192.0.2.1", "no-such-host.invalid", "a" * 300):
        with pytest.raises(PomError, match="is no address of this machine: leave --host out"):
            listen(host, 0)
    with listen("localhost", 0) as listener:
        assert listener.family == socket.AF_INET


# The real server


@dataclass
class Served:
    folder: Path
    port: int
    token: str
    lines: list[str]

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """The path goes out as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.putrequest("GET", path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()

    def handshake(self, **headers: str) -> int:
        key = base64.b64encode(os.urandom(16)).decode()
        asked = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": key, **headers}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.putrequest("GET", "/_nicegui_ws/socket.io/?EIO=4&transport=websocket", skip_host="Host" in headers)
        for name, value in {**asked, "Sec-WebSocket-Version": "13"}.items():
            connection.putheader(name, value)
        connection.endheaders()
        status = connection.getresponse().status
        connection.close()
        return status


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    variables = {key: value for key, value in os.environ.items() if key != "PYTEST_CURRENT_TEST"}
    return subprocess.Popen(
        [sys.executable, "-m", "pom", "annotate", "--port", "0", *arguments],
        cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def served(folder: Path, *arguments: str) -> Iterator[Served]:
    """A server, which must end well, and not have written outside its own folder."""
    with start(folder, *arguments) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().rstrip() for _ in range(2)]
        found = re.fullmatch(r"http://\S+?:(\d+)/(?:\?token=(\S+))?", lines[0])
        if found is None:
            process.kill()
            pytest.fail(f"{lines} {process.communicate()}")
        try:
            yield Served(folder, int(found[1]), found[2] or "", lines)
        finally:
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=30)
    assert (process.returncode, rest) == (0, ""), errors
    assert "Traceback" not in errors
    warned = "Whoever has this address can change the annotations and the settings, and start trainings"
    assert (warned in " ".join(errors.split())) == bool(found[2])
    assert {path.name for path in folder.iterdir()} <= {"project_configuration.json", "tomograms", ".pom", "secret.txt"}


def make_folder(tmp_path: Path, make_project: MakeProject) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    project = make_project(folder, ("TS_1",), macromolecules=("Density",))
    for path in project.macromolecule_dir.glob("*__*.mrc"):
        path.unlink()
    if project.macromolecule_dir != project.tomogram_dir:
        project.macromolecule_dir.rmdir()
    settings = {"macromolecules": ["Density"], "ontologies": ["Disc"]}
    (folder / "project_configuration.json").write_text(json.dumps(settings))
    (folder / "secret.txt").write_text("SECRET")
    (tmp_path / "outside.txt").write_text("SECRET")
    (project.tomogram_dir / "link.mrc").symlink_to(tmp_path / "outside.txt")
    return folder


@pytest.fixture
def local(tmp_path: Path, make_project: MakeProject) -> Iterator[Served]:
    yield from served(make_folder(tmp_path, make_project))


@pytest.fixture
def open_to_all(tmp_path: Path, make_project: MakeProject) -> Iterator[Served]:
    yield from served(make_folder(tmp_path, make_project), "--host", "0.0.0.0")


def test_the_real_server_on_loopback(local: Served) -> None:
    assert local.lines[0] == f"http://127.0.0.1:{local.port}/"
    assert local.lines[1].startswith(f"From another machine: ssh -L {local.port}:127.0.0.1:{local.port} ")
    status, headers, _ = local.get("/")
    assert status in (302, 303, 307) and headers["location"].startswith("/annotate")
    status, headers, page = local.get("/annotate")
    assert status == 200 and b"<script nonce=" in page
    assert b"<script>" not in page
    assert local.get("/annotate", Host="localhost:61234")[0] == 200
    for path in ("/annotate", "/api/tomograms/TS_1", "/_nicegui_ws/socket.io/?EIO=4&transport=polling"):
        assert local.get(path, Host="evil.example")[0] == 403
        assert local.get(path, Origin="http://evil.example")[0] == 403
        assert local.get(path)[0] == 200

    own = f"http://127.0.0.1:{local.port}"
    assert local.handshake(Origin=own) == 101
    assert local.handshake(Host="localhost:61234", Origin="http://localhost:61234") == 101
    assert local.handshake(Origin="http://evil.example") == 403
    assert local.handshake(Origin="null") == 403
    assert local.handshake(Host="evil.example", Origin="http://evil.example") == 403
    assert local.handshake(Origin=f"http://localhost:{local.port}") == 403
    _no_other_host_is_named(local, page)
    _nothing_outside_is_served(local)


def _no_other_host_is_named(server: Served, page: bytes) -> None:
    """Neither in a page nor in the style sheets and scripts that it loads."""
    own = re.findall(rb'"(/_nicegui/[^"]+?\.(?:css|js|mjs))"', page)
    own = [path for path in own if server.get(path.decode())[0] == 200]
    assert len(own) > 5
    texts = [page, *(server.get(path.decode())[2] for path in own if path.endswith(b".css"))]
    for text in texts:
        loaded = re.findall(rb"(?:src|href)=[\"'](?:https?:)?//|url\([\"']?(?:https?:)?//|from ?[\"']https?://", text)
        assert loaded == []


def _nothing_outside_is_served(server: Served) -> None:
    up = ("../", "..%2f", "..%2F", "%2e%2e/", "%2e%2e%2f", "..\\", "..%5c", "%252e%252e%252f", "....//")
    roots = ("/", "/api/tomograms/", "/api/tomograms/TS_1/layers/", "/annotate/", "/_nicegui/", "/static/")
    _, _, page = server.get("/annotate")
    found = re.search(rb'"(/_nicegui/[^/"]+/static/)', page)
    assert found is not None
    for root in (*roots, found[1].decode()):
        for step in up:
            for target in ("secret.txt", "project_configuration.json", "etc/passwd"):
                for depth in (1, 8):
                    status, _, content = server.get(f"{root}{step * depth}{target}")
                    assert b"SECRET" not in content and b"ontologies" not in content and b"root:" not in content
                    assert status != 200 or content.lstrip().startswith(b"<!doctype html>")
    for path in ("/%2fetc/passwd", "//etc/passwd", f"/api/tomograms/{server.folder}/secret.txt", "/secret.txt",
                 "/tomograms/", "/tomograms/TS_1.mrc", "/.pom/", found[1].decode()):  # fmt: skip
        status, _, content = server.get(path)
        assert status in (307, 404) and b"SECRET" not in content and b"TS_1.mrc<" not in content
    status, _, content = server.get("/api/tomograms/link/slices/0")
    assert status == 422 and b"SECRET" not in content and b"is no MRC file" in content


def test_the_real_server_elsewhere_wants_its_token(open_to_all: Served) -> None:
    served = open_to_all
    assert len(served.token) >= 40
    for path in ("/", "/annotate", "/api/tomograms/TS_1", "/?token=wrong", "/_nicegui_ws/socket.io/?EIO=4"):
        assert served.get(path)[0] == 403
        assert served.get(path, Cookie=f"pom-{served.port}=wrong")[0] == 403
    status, headers, _ = served.get(f"/annotate?token={served.token}", Host="server.example:8000")
    assert (status, headers["location"]) == (303, "/annotate")
    cookie = headers["set-cookie"].partition(";")[0]
    assert served.get("/annotate", Cookie=cookie, Host="server.example:8000")[0] == 200
    assert served.get("/api/tomograms/TS_1", Cookie=cookie)[0] == 200
    own = {"Host": "server.example:8000", "Origin": "http://server.example:8000"}
    assert served.handshake(**own) == 403
    assert served.handshake(**own, Cookie=cookie) == 101
    assert served.handshake(Host="server.example:8000", Origin="http://evil.example", Cookie=cookie) == 403


@pytest.mark.parametrize("option", ["--token", "-token"])
def test_the_real_server_here_wants_a_token_if_it_is_told_to(
    tmp_path: Path, make_project: MakeProject, option: str
) -> None:
    """Others who have an account on this machine can reach its loopback address, too."""
    for server in served(make_folder(tmp_path, make_project), option):
        assert len(server.token) >= 40 and server.lines[0].startswith("http://127.0.0.1:")
        assert server.lines[1].endswith(", and open that address there.")
        for path in ("/", "/annotate", "/api/tomograms/TS_1", "/?token=wrong"):
            assert server.get(path)[0] == 403
        assert server.handshake() == 403
        status, headers, _ = server.get(f"/annotate?token={server.token}")
        cookie = headers["set-cookie"].partition(";")[0]
        assert (status, headers["location"]) == (303, "/annotate")
        assert server.get("/api/tomograms/TS_1", Cookie=cookie)[0] == 200
        assert server.handshake(Cookie=cookie) == 101
        assert server.handshake(Origin="http://evil.example", Cookie=cookie) == 403


def test_a_taken_port_is_said_before_anything_starts(tmp_path: Path, make_project: MakeProject) -> None:
    folder = make_folder(tmp_path, make_project)
    before = sorted(folder.rglob("*"))
    with listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        with start(folder, "-port", port) as process:
            output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "")
    assert errors.startswith(f"Error: Port {port} is taken on 127.0.0.1")
    assert sorted(folder.rglob("*")) == before


def test_sigterm_ends_it_as_well(tmp_path: Path, make_project: MakeProject) -> None:
    with start(make_folder(tmp_path, make_project)) as process:
        assert process.stdout is not None and process.stdout.readline().startswith("http://")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 0
