"""The routes that the canvas reads and writes annotations by."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pom.app.annotate.routes import session_routes
from pom.app.annotate.session import Sessions
from pom.app.answers import answer_errors
from pom.app.uploads import BodyLimit
from pom.io.annotation_store import AnnotationStore
from pom.project.paths import Project

HEIGHT, WIDTH = 64, 72
MOST_BYTES = 1 << 20


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project(tomograms=("TS_1",))


@pytest.fixture
def sessions(project: Project) -> Iterator[Sessions]:
    sessions = Sessions(project)
    yield sessions
    sessions.close()


@pytest.fixture
def client(sessions: Sessions) -> TestClient:
    app = FastAPI()
    app.add_middleware(BodyLimit, most=0, elsewhere={"/api/sessions/": MOST_BYTES})
    app.include_router(session_routes(sessions))
    answer_errors(app)
    return TestClient(app)


FULL = np.ones((2, 2), bool)


def packed(mask: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(np.packbits(mask.ravel()).tobytes()).decode()


def patch(mask: np.ndarray[Any, Any], **changes: Any) -> dict[str, Any]:
    height, width = mask.shape
    body = {"feature": "f1", "z": 5, "x": 7, "y": 11, "width": width, "height": height, "bits": packed(mask)}
    return {**body, **changes}


def test_a_patch_is_on_disk_pixel_by_pixel(client: TestClient, sessions: Sessions, project: Project) -> None:
    session = sessions.open("TS_1")
    mask = np.random.default_rng(1).random((9, 13)) > 0.5  # 117 pixels: the last byte is not full
    answer = client.post(f"/api/sessions/{session.id}/patches", json=patch(mask))
    assert (answer.status_code, answer.json()) == (200, {"revision": 1, "stamp": session.document.stamp})
    drawn = AnnotationStore.open(project.native_annotation("TS_1")).mask("f1", 5)
    wanted = np.zeros((HEIGHT, WIDTH), np.uint8)
    wanted[11:20, 7:20] = mask
    assert np.array_equal(drawn, wanted)
    features = client.get(f"/api/sessions/{session.id}/slices/5").json()["features"]
    assert features == {"f1": packed(wanted)}


def test_each_answer_tells_what_the_page_has_made(client: TestClient, sessions: Sessions) -> None:
    session = sessions.open("TS_1")
    address = f"/api/sessions/{session.id}"
    assert session.version is not None
    before = session.version["stamp"]
    drawn = client.post(f"{address}/patches", json=patch(FULL)).json()
    boxed = client.post(f"{address}/boxes", json={"feature": "f1", "z": 4, "boxes": [[1, 2]]}).json()
    assert len({before, drawn["stamp"], boxed["stamp"]}) == 3 and drawn["revision"] < boxed["revision"]
    assert boxed == session.version
    session.change_feature("f1", title="Round")
    assert session.version["revision"] > boxed["revision"] and session.version["stamp"] == session.document.stamp


def test_boxes_are_replaced(client: TestClient, sessions: Sessions, project: Project) -> None:
    session = sessions.open("TS_1")
    body = {"feature": "f2", "z": 4, "boxes": [[10, 20.5], [0, 64]]}
    assert client.post(f"/api/sessions/{session.id}/boxes", json=body).status_code == 200
    store = AnnotationStore.open(project.native_annotation("TS_1"))
    assert store.feature("f2").boxes[4] == [(10, 20.5), (0, 64)]
    assert client.post(f"/api/sessions/{session.id}/boxes", json={**body, "boxes": []}).status_code == 200
    assert 4 not in AnnotationStore.open(project.native_annotation("TS_1")).feature("f2").boxes


def test_a_slice_without_anything(client: TestClient, sessions: Sessions) -> None:
    session = sessions.open("TS_1")
    answer = client.get(f"/api/sessions/{session.id}/slices/0")
    assert (answer.json(), answer.headers["cache-control"]) == ({"features": {}}, "no-store")


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (patch(FULL, z=12), 422, "There is no slice 12: TS_1 has slices 0 to 11."),
        (patch(FULL, z=-1), 422, "z: Input should be greater than or equal to 0"),
        (patch(FULL, x=71), 422, "reaches beyond the slice, which is 72 x 64 pixels"),
        (patch(FULL, y=63), 422, "reaches beyond the slice"),
        (patch(FULL, width=0), 422, "width"),
        (patch(FULL, width=10**12), 422, "reaches beyond the slice"),
        (patch(FULL, x=1.5), 422, "x: "),
        (patch(FULL, bits="????"), 422, "not base64"),
        (patch(FULL, bits=packed(np.ones((4, 4), bool))), 422, "holds 2 bytes, but 4 pixels take 1"),
        (patch(FULL, feature="f9"), 404, "TS_1 has no feature 'f9'"),
        (patch(FULL, feature="../f1"), 404, "has no feature '../f1'"),
        (patch(FULL, more=1), 422, "more"),
        ([1], 422, "not as it should be"),
    ],
)
def test_a_wrong_patch_is_refused(
    client: TestClient, sessions: Sessions, project: Project, body: Any, status: int, said: str
) -> None:
    session = sessions.open("TS_1")
    answer = client.post(f"/api/sessions/{session.id}/patches", json=body)
    assert answer.status_code == status and said in answer.json()["error"]
    assert not project.native_annotation("TS_1").exists()


@pytest.mark.parametrize("boxes", [[[73, 1]], [[1, -1]], [[1]], [["a", 1]], [[None, 1]], [[1, 1]] * 10_001, "x"])
def test_wrong_boxes_are_refused(client: TestClient, sessions: Sessions, project: Project, boxes: Any) -> None:
    session = sessions.open("TS_1")
    body = {"feature": "f1", "z": 3, "boxes": boxes}
    answer = client.post(f"/api/sessions/{session.id}/boxes", json=body)
    assert answer.status_code == 422 and answer.json()["error"]
    assert not project.native_annotation("TS_1").exists()


def test_what_is_no_json_or_too_large(client: TestClient, sessions: Sessions) -> None:
    address = f"/api/sessions/{sessions.open('TS_1').id}/patches"
    assert client.post(address, content=b"{").status_code == 422
    # One says how large it is, one comes in parts.
    for content in (bytes(MOST_BYTES + 1), iter([bytes(MOST_BYTES), b"1"])):
        answer = client.post(address, content=content)
        assert answer.status_code == 413 and "too large" in answer.json()["error"]


def test_a_page_without_the_right_gets_409(client: TestClient, sessions: Sessions) -> None:
    first, second = sessions.open("TS_1"), sessions.open("TS_1")
    answer = client.post(f"/api/sessions/{second.id}/patches", json=patch(FULL))
    assert answer.status_code == 409 and "edits this tomogram" in answer.json()["error"]
    assert client.get(f"/api/sessions/{second.id}/slices/3").status_code == 200
    first.close()
    assert second.take_edit()
    assert client.post(f"/api/sessions/{second.id}/patches", json=patch(FULL)).status_code == 200


def test_an_unknown_page_gets_404(client: TestClient) -> None:
    for answer in (
        client.get("/api/sessions/nobody/slices/0"),
        client.post("/api/sessions/x/patches", json=patch(FULL)),
    ):
        assert answer.status_code == 404 and "load it again" in answer.json()["error"]
