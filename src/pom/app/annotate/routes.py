"""The routes that read and change an annotation, for the canvas in the browser."""

import base64
import binascii
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pom.app.annotate.document import Document
from pom.app.annotate.session import Sessions
from pom.errors import PomError

MOST_BOXES = 10_000

Index = Annotated[int, Field(ge=0, strict=True)]
Extent = Annotated[int, Field(gt=0, strict=True)]
Coordinate = Annotated[float, Field(allow_inf_nan=False)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    feature: str
    z: Index


class Patch(_Body):
    """A rectangle of pixels: bit k is pixel (y + k // width, x + k % width); the first bit of a byte is its highest."""

    x: Index
    y: Index
    width: Extent
    height: Extent
    bits: str
    """Base64 of the bits, the last byte filled up."""


class Boxes(_Body):
    """All boxes of a slice, by their centres (x, y)."""

    boxes: Annotated[list[tuple[Coordinate, Coordinate]], Field(max_length=MOST_BOXES)]


def session_routes(sessions: Sessions) -> APIRouter:
    """The routes below ``/api/sessions``; errors are raised, see ``pom.app.answers``."""
    router = APIRouter(prefix="/api/sessions")

    # Plain functions, which the framework runs in threads: reading and writing may take a while on a network disk.
    @router.get("/{sid}/slices/{z}")
    def drawn(sid: str, z: int) -> Response:
        document = sessions.get(sid).document
        _check_z(sessions, document, z)
        masks = {key: _pack(mask) for key, mask in document.masks(z).items()}
        return JSONResponse({"features": masks}, headers={"Cache-Control": "no-store"})

    @router.post("/{sid}/patches")
    def patch(sid: str, patch: Patch) -> Response:
        session = sessions.get(sid)
        _, height, width = _check_z(sessions, session.document, patch.z)
        if patch.x + patch.width > width or patch.y + patch.height > height:
            raise PomError(f"The patch reaches beyond the slice, which is {width} x {height} pixels.")
        mask = _unpack(patch)
        return JSONResponse(session.write_patch(patch.feature, patch.z, patch.y, patch.x, mask))

    @router.post("/{sid}/boxes")
    def boxes(sid: str, boxes: Boxes) -> Response:
        session = sessions.get(sid)
        _, height, width = _check_z(sessions, session.document, boxes.z)
        if any(not (0 <= x <= width and 0 <= y <= height) for x, y in boxes.boxes):
            raise PomError(f"A box has its centre outside the slice, which is {width} x {height} pixels.")
        return JSONResponse(session.set_boxes(boxes.feature, boxes.z, boxes.boxes))

    return router


def _check_z(sessions: Sessions, document: Document, z: int) -> tuple[int, int, int]:
    shape = sessions.shape(document.name)
    if not 0 <= z < shape[0]:
        raise PomError(f"There is no slice {z}: {document.name} has slices 0 to {shape[0] - 1}.")
    return shape


def _pack(mask: NDArray[np.uint8]) -> str:
    return base64.b64encode(np.packbits(mask.ravel()).tobytes()).decode("ascii")


def _unpack(patch: Patch) -> NDArray[np.bool_]:
    count = patch.width * patch.height
    try:
        data = base64.b64decode(patch.bits, validate=True)
    except (binascii.Error, ValueError) as error:
        raise PomError("The bits of the patch are not base64.") from error
    if len(data) != (count + 7) // 8:
        raise PomError(f"The patch holds {len(data)} bytes, but {count} pixels take {(count + 7) // 8}.")
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=count)
    return bits.reshape(patch.height, patch.width).astype(np.bool_)
