"""The addresses under which slices of tomograms, and of what lies over them, are found."""

from collections.abc import Callable

from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse

from pom.app.slices.memory import Trimming
from pom.app.slices.pictures import Picture, Pictures, number
from pom.app.slices.waiting import Newest, PictureCache

MOST_KEPT_BYTES = 32 << 20
N_READERS = 4
MOST_WAITING = 64
MOST_PREVIEWS_WAITING = 12

FOREVER = "private, max-age=31536000, immutable"
ASK_AGAIN = "private, no-cache"


def slice_routes(pictures: Pictures) -> APIRouter:
    """The routes below /api/tomograms.

    A picture bears an ETag that changes with its files. Where the request has the tomogram's tag as ``v``, the browser
    keeps the picture without asking again. Errors are raised as ``PomError``; ``pom.app.answers.answer_errors`` lets
    an app answer with them.

    Args:
        pictures: of the project's tomograms.
    """
    router = APIRouter(prefix="/api/tomograms")
    kept: PictureCache[tuple[str, str]] = PictureCache(MOST_KEPT_BYTES)
    trimming = Trimming()
    reading = Newest(N_READERS, MOST_WAITING)
    # One at a time, since a network uses all processors; apart from the reading, which is not to wait for it.
    predicting = Newest(1, MOST_PREVIEWS_WAITING)

    @router.get("/{name}")
    async def describe(name: str, request: Request) -> Response:
        found = await reading.do(lambda: pictures.describe(name), request.is_disconnected)
        return JSONResponse(found, headers={"cache-control": ASK_AGAIN})

    @router.get("/{name}/slices/{z}")
    async def grey_slice(name: str, z: str, request: Request, slab: str = "1") -> Response:
        return await answer(request, lambda: pictures.grey(name, number(z), number(slab)))

    @router.get("/{name}/layers/{layer_id}/{z}")
    async def layer_slice(name: str, layer_id: str, z: str, request: Request) -> Response:
        return await answer(request, lambda: pictures.layer(name, layer_id, number(z)))

    async def answer(request: Request, find: Callable[[], Picture]) -> Response:
        known = request.headers.get("if-none-match", "")

        def look() -> tuple[Picture, bytes | None]:
            picture = find()
            if etag(picture) in known:
                return picture, b""
            # What is read is read again as fast as it is sent, so that only what a network says is worth keeping.
            if picture.slow:
                return picture, kept.get((request.url.path, picture.tag))
            content = picture.make()
            trimming.made_one()
            return picture, content

        picture, content = await reading.do(look, request.is_disconnected)
        lasting = request.query_params.get("v") == picture.file_tag
        headers = {"etag": etag(picture), "cache-control": FOREVER if lasting else ASK_AGAIN}
        if content == b"":
            return Response(status_code=304, headers=headers)
        if content is None:
            content = await predicting.do(picture.make, request.is_disconnected)
            kept.put((request.url.path, picture.tag), content)
        return Response(content, media_type=picture.media_type, headers=headers)

    return router


def etag(picture: Picture) -> str:
    """What tells a picture from others of its address, in the form of the header."""
    return f'"{picture.tag}"'
