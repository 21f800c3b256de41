"""The addresses of the place Browse, and of what its pages ask for."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse

from pom.app.answers import NotFoundError
from pom.app.browse.browsing import Browsing
from pom.app.browse.gallery import fill_gallery
from pom.app.browse.meshes import mesh_routes
from pom.app.browse.overview import fill_overview, fill_progress
from pom.app.browse.pages import BROWSE, FILES, STATIC, TABS, LostError, View, Way, file_tag, page, render
from pom.app.browse.settings import settings_routes
from pom.app.browse.subsets import fill_subsets, subset_routes
from pom.app.browse.table import csv_text, fill_table, json_page
from pom.app.browse.tomogram import tomogram_routes
from pom.app.numbers import whole
from pom.app.slices.routes import ASK_AGAIN, FOREVER
from pom.app.slices.waiting import Newest
from pom.project.names import nearest

N_THREADS = 2
MOST_WAITING = 256
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript"}


def browse_routes(browsing: Browsing) -> APIRouter:
    """The routes below /browse, and those of the tables, pictures and subsets below /api."""
    router = APIRouter(include_in_schema=False)
    for add in PARTS:
        add(router, browsing)
    return router


def _pages(router: APIRouter, browsing: Browsing) -> None:
    # Plain functions, which FastAPI runs in threads, so that other requests need not wait for them.
    @router.get(BROWSE)
    def overview(request: Request) -> HTMLResponse:
        return page(browsing, request, "overview.html", fill_overview)

    @router.get(f"{BROWSE}/progress")
    def progress() -> HTMLResponse:
        return HTMLResponse(
            render("progress.html", **fill_progress(browsing.steps())), headers={"cache-control": "no-store"}
        )

    @router.get(f"{BROWSE}/table")
    def table(request: Request) -> HTMLResponse:
        return page(browsing, request, "table.html", fill_table)

    @router.get(f"{BROWSE}/gallery")
    def gallery(request: Request) -> HTMLResponse:
        return page(browsing, request, "gallery.html", fill_gallery)

    @router.get(f"{BROWSE}/subsets")
    def subsets(request: Request) -> HTMLResponse:
        return page(browsing, request, "subsets.html", fill_subsets)


def _files(router: APIRouter, _browsing: Browsing) -> None:
    @router.get(f"{STATIC}/{{name}}")
    def static(name: str, request: Request, v: str = "") -> Response:
        if name not in FILES:
            raise NotFoundError("There is no such file.")
        tag = file_tag(name)
        headers = {"etag": f'"{tag}"', "cache-control": FOREVER if v == tag else ASK_AGAIN}
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        path = FILES[name]
        return Response(path.read_bytes(), media_type=MEDIA_TYPES[path.suffix], headers=headers)


def _tables(router: APIRouter, browsing: Browsing) -> None:
    @router.get("/api/table")
    def rows(request: Request) -> JSONResponse:
        now = browsing.now()
        return JSONResponse(json_page(now, View(now, request)), headers={"cache-control": "no-store"})

    @router.get("/api/table.csv")
    def csv(request: Request) -> Response:
        now = browsing.now()
        headers = {"content-disposition": 'attachment; filename="tomograms.csv"', "cache-control": "no-store"}
        return Response(csv_text(now, View(now, request)), media_type="text/csv", headers=headers)


def _pictures(router: APIRouter, browsing: Browsing) -> None:
    making = Newest(N_THREADS, MOST_WAITING)

    @router.get("/api/pictures/{kind}/{name}")
    async def picture(kind: str, name: str, request: Request, size: str = "320", v: str = "") -> Response:
        def make() -> tuple[bytes, str, str]:
            found = browsing.kinds().get(kind)
            if found is None or not browsing.knows(name):
                raise NotFoundError(f"There is no picture {kind!r} of {name!r}.")
            return browsing.thumbnails.content(found, name, whole(size))

        content, media_type, tag = await making.do(make, request.is_disconnected)
        headers = {"cache-control": FOREVER if v == tag else ASK_AGAIN}
        return Response(content, media_type=media_type, headers=headers)


def _elsewhere(router: APIRouter, browsing: Browsing) -> None:
    """What is below /browse and no page; comes after all others."""

    @router.get(f"{BROWSE}/{{rest:path}}")
    def nothing(rest: str, request: Request) -> Response:
        path = request.url.path
        if path.endswith("/"):
            query = request.url.query
            return RedirectResponse(quote(path.rstrip("/")) + (f"?{query}" if query else ""))

        def fill(_now: Browsing, view: View) -> dict[str, Any]:
            titles = {tab.path.rpartition("/")[2]: tab.title for tab in TABS}
            closest = nearest(rest, titles)
            meant = [Way(f"Did you mean {titles[closest]}?", view.address(f"{BROWSE}/{closest}"))] if closest else []
            raise LostError(f"There is no page {path}.", [*meant, Way("To the overview", view.address(BROWSE))])

        return page(browsing, request, "fault.html", fill)


PARTS: list[Callable[[APIRouter, Browsing], None]] = [
    _pages, _files, _tables, _pictures, subset_routes, tomogram_routes, mesh_routes, settings_routes, _elsewhere,
]  # fmt: skip
"""What adds routes; a new page is one more, and if it is a tab of its own, one more of ``pages.TABS``."""
