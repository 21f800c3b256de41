"""The drawing canvas alone, on made-up slices and annotations that are only in memory: for its tests, and to try it.

Run ``python tests/app/canvas_page.py [PORT]``; it prints its address. A new word in ``?session=`` is a new annotation.
"""

import asyncio
import base64
import io
import socket
import sys
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from nicegui import ui
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from pom.app.annotate.canvas import SliceCanvas
from pom.app.annotate.document import Version

TOMOGRAMS = {"small": (40, 200, 240), "large": (200, 1024, 1024)}
VOXEL_SIZE_NM = 0.8
FEATURES = {"f1": ("Mitochondrion", "#ff8a3d"), "f2": ("Membrane", "#3dc7ff"), "f3": ("Vesicle", "#9be564")}
DISTINCT = 8
"""Made-up slices differ up to this many; then they repeat."""


@dataclass
class Session:
    """One annotation, and what its canvas told."""

    shape: tuple[int, int, int]
    may_edit: bool
    masks: dict[tuple[str, int], NDArray[np.uint8]] = field(default_factory=dict)
    boxes: dict[str, dict[int, list[list[float]]]] = field(default_factory=dict)
    received: list[dict[str, Any]] = field(default_factory=list)
    events: list[list[Any]] = field(default_factory=list)
    canvas: SliceCanvas | None = None
    features: set[str] = field(default_factory=lambda: set(FEATURES))
    elsewhere: int = 0
    """How often somebody else has changed the annotation."""

    @property
    def version(self) -> Version:
        """As a server tells it."""
        return {"revision": len(self.received) + self.elsewhere, "stamp": f"{len(self.received)}+{self.elsewhere}"}


SESSIONS: dict[str, Session] = {}


@cache
def grey(name: str, z: int) -> NDArray[np.uint8]:
    """The slice: in the small tomogram flat areas of known brightness, in the large one something like a cell."""
    _, rows, columns = TOMOGRAMS[name]
    if name == "small":
        image = np.full((rows, columns), 120 + z % DISTINCT, np.uint8)
        image[20:60, 30:90] = 40
        image[60:70, 30:90] = 80
        image[100:, :40] = 200
        return image
    y, x = np.ogrid[:rows, :columns]
    noise = np.roll(grain(rows, columns), 37 * z)
    cell = (x - 500 - 4 * z) ** 2 + (y - 520) ** 2 < 420**2
    distance = np.hypot((x - 420 - 5 * z) / 1.6, y - 600)
    organelle, rim = distance < 90, np.abs(distance - 90) < 5
    image = 150 - 18 * cell - 16 * organelle - 40 * rim + noise
    clipped: NDArray[np.uint8] = np.clip(image, 0, 255).astype(np.uint8)
    return clipped


@cache
def grain(rows: int, columns: int) -> NDArray[np.float32]:
    noise = np.random.default_rng(1).standard_normal((rows, columns), np.float32)
    grain: NDArray[np.float32] = ndimage.gaussian_filter(noise, 1.2) * 55
    return grain


@cache
def encoded(name: str, z: int) -> bytes:
    """Without loss for the small tomogram, which is tested pixel by pixel."""
    stream = io.BytesIO()
    image = Image.fromarray(grey(name, z))
    image.save(stream, "PNG") if name == "small" else image.save(stream, "JPEG", quality=80)
    return stream.getvalue()


def network(name: str, z: int) -> NDArray[np.uint8]:
    """What a network says: certain in an ellipse, and less so about it."""
    _, rows, columns = TOMOGRAMS[name]
    y, x = np.mgrid[:rows, :columns]
    distance = np.hypot((x - 0.45 * columns) / 1.6, y - 0.6 * rows) / (0.09 * columns)
    says: NDArray[np.uint8] = np.clip(255 * (1.5 - distance), 0, 255).astype(np.uint8)
    return says


api = FastAPI()


@api.get("/api/tomograms/{name}/slices/{z}")
def get_slice(name: str, z: int) -> Response:
    return Response(encoded(name, z % DISTINCT), media_type="image/png", headers={"Cache-Control": "max-age=3600"})


@api.get("/api/tomograms/{name}/layers/{layer}/{z}")
def get_layer(name: str, layer: str, z: int) -> Response:
    stream = io.BytesIO()
    Image.fromarray(network(name, z)).save(stream, "PNG")
    return Response(stream.getvalue(), media_type="image/png")


@api.get("/api/sessions/{sid}/slices/{z}")
def get_masks(sid: str, z: int) -> dict[str, Any]:
    masks = {feature: mask for (feature, at), mask in SESSIONS[sid].masks.items() if at == z}
    return {
        "features": {key: base64.b64encode(np.packbits(mask.ravel()).tobytes()).decode() for key, mask in masks.items()}
    }


@api.post("/api/sessions/{sid}/patches")
def post_patch(sid: str, patch: dict[str, Any]) -> Response:
    session = SESSIONS[sid]
    if not session.may_edit:
        return JSONResponse({"error": "Another person is annotating this tomogram."}, 409)
    if patch["feature"] not in session.features:
        return JSONResponse({"error": f"There is no feature {patch['feature']}."}, 404)
    height, width = patch["height"], patch["width"]
    bits = np.unpackbits(np.frombuffer(base64.b64decode(patch["bits"]), np.uint8), count=height * width)
    mask = session.masks.setdefault((patch["feature"], patch["z"]), np.zeros(session.shape[1:], np.uint8))
    mask[patch["y"] : patch["y"] + height, patch["x"] : patch["x"] + width] = bits.reshape(height, width)
    session.received.append({key: value for key, value in patch.items() if key != "bits"})
    return JSONResponse(session.version)


@api.post("/api/sessions/{sid}/boxes")
def post_boxes(sid: str, boxes: dict[str, Any]) -> Response:
    session = SESSIONS[sid]
    if not session.may_edit:
        return JSONResponse({"error": "Another person is annotating this tomogram."}, 409)
    session.boxes.setdefault(boxes["feature"], {})[boxes["z"]] = boxes["boxes"]
    session.received.append(boxes)
    return JSONResponse(session.version)


@api.get("/test/{sid}")
def told(sid: str) -> dict[str, Any]:
    """For the tests: what came over HTTP and over the page's own connection."""
    session = SESSIONS[sid]
    return {"boxes": session.boxes, "received": session.received, "events": session.events}


@api.post("/test/{sid}/show")
def show(sid: str, props: dict[str, Any]) -> None:
    """For the tests: the page changes the canvas."""
    session = SESSIONS[sid]
    if "features" in props:
        session.features = {feature["id"] for feature in props["features"]}
    canvas = session.canvas
    assert canvas is not None
    with canvas:
        canvas.show(**props)


@api.post("/test/{sid}/call/{method}")
def call(sid: str, method: str, arguments: list[float]) -> None:
    """For the tests: the page calls a method of the canvas."""
    canvas = SESSIONS[sid].canvas
    with canvas:  # type: ignore[union-attr]
        canvas.run_method(method, *arguments)  # type: ignore[union-attr]


@api.post("/test/{sid}/may_edit/{allowed}")
def allow(sid: str, allowed: bool) -> None:
    """For the tests: the server takes the right to draw away, or gives it."""
    SESSIONS[sid].may_edit = allowed


@api.post("/test/{sid}/tell_right")
def tell_right(sid: str) -> None:
    """For the tests: the page hears whether it has the right to draw."""
    session = SESSIONS[sid]
    show(sid, {"may_edit": session.may_edit, "version": session.version if session.may_edit else None})


@api.post("/test/{sid}/elsewhere")
def change_elsewhere(sid: str) -> None:
    """For the tests: somebody else fills the lowest ten rows of slice 20 for the first feature."""
    session = SESSIONS[sid]
    session.masks.setdefault(("f1", 20), np.zeros(session.shape[1:], np.uint8))[:10] = 1
    session.elsewhere += 1


@ui.page("/")
def page(tomogram: str = "small", session: str = "s1", edit: bool = True) -> None:
    """The canvas on the whole page."""
    shape = TOMOGRAMS[tomogram]
    state = SESSIONS.setdefault(session, Session(shape, edit))
    ui.query(".nicegui-content").style("padding: 0; gap: 0; height: 100vh")
    state.canvas = SliceCanvas(
        tomogram={"name": tomogram, "shape": shape, "voxel_size_nm": VOXEL_SIZE_NM, "tag": "1"},
        session=session,
        may_edit=edit,
        version=state.version if edit else None,
        features=[
            {
                "id": key,
                "title": title,
                "colour": colour,
                "alpha": 0.45,
                "visible": True,
                "box_size": shape[1] // 8,
                "boxes": state.boxes.get(key, {}),
            }
            for key, (title, colour) in FEATURES.items()
        ],
        active="f1",
        brush_size=16.0 if tomogram == "small" else 40.0,
        z=shape[0] // 2,
        layers=[
            {
                "id": "network:Mitochondrion",
                "title": "Mitochondrion",
                "kind": "network",
                "colour": "#ffd166",
                "opacity": 0.4,
                "visible": False,
            }
        ],
    )
    for name in ("z", "tool", "brush", "active", "contrast", "saving", "undo_depth"):
        state.canvas.on(name, lambda event, name=name: state.events.append([name, event.args]))


ui.run_with(api, title="Canvas", dark=True)


def main() -> None:
    """Serves until it is stopped."""
    listening = socket.create_server(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0))
    print(f"http://127.0.0.1:{listening.getsockname()[1]}/", flush=True)  # noqa: T201
    asyncio.run(uvicorn.Server(uvicorn.Config(api, log_level="warning")).serve(sockets=[listening]))


if __name__ == "__main__":
    main()
