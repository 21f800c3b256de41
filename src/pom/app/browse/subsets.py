"""Subsets in the browser: made by hand or from a query, taken from files, and handed to other programs."""

import tempfile
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from pom.app.answers import ConflictError, NotFoundError
from pom.app.browse.browsing import Browsing
from pom.app.browse.pages import BROWSE, View
from pom.errors import PomError
from pom.project.names import name_fault
from pom.words import counted, listed
from pom.workflow.alone import changing
from pom.workflow.atlas import Query
from pom.workflow.subsets import (
    ENDING,
    READERS,
    Form,
    export_subset,
    import_names,
    list_subsets,
    remove_subset,
    subset_names,
    write_subset,
)

PATH = "/api/subsets"
MOST_NAMES = 200_000
CHANGED = "subsets"
"""What only one page or server of the project changes at a time."""
FORMS: dict[str, tuple[str, str, str]] = {
    "names": ("Names", "a name a line", ".txt"),
    "paths": ("Paths, for Ais and easymode", "the path of each tomogram, a line each", " paths.txt"),
    "tomostar": ("List for WarpTools", "tomostar/NAME.tomostar a line, for --input_data", " tomostar.txt"),
    "star": ("STAR", "names and paths, as RELION 5 has them", ".star"),
    "csv": ("CSV", "the tomograms with all their figures", ".csv"),
}
"""By the form its title, what it is, and what the file's name has behind the subset's title, each something else."""


class NewSubset(BaseModel):
    """What makes a subset: names, or a query (a URL's, behind its ``?``) for those that it finds."""

    model_config = ConfigDict(extra="forbid", strict=True)

    title: Annotated[str, Field(max_length=200)]
    names: Annotated[list[Annotated[str, Field(max_length=500)]], Field(max_length=MOST_NAMES)] | None = None
    query: Annotated[str, Field(max_length=10_000)] | None = None
    mode: Literal["new", "add", "replace"] = "new"


def fill_subsets(browsing: Browsing, view: View) -> dict[str, Any]:
    """What the page of the subsets shows."""
    known = browsing.known()
    titles = list_subsets(browsing.project)
    return {"subsets": [_shown(browsing, view, title, known) for title in titles], "forms": FORMS}


def subset_routes(router: APIRouter, browsing: Browsing) -> None:
    """Adds the routes below /api/subsets."""

    @router.post(PATH)
    async def make(request: Request) -> dict[str, Any]:
        try:
            wanted = NewSubset.model_validate_json(await request.body())
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "body"
            raise PomError(f"The request is not as it should be ({where}: {first['msg']}).") from error
        return await run_in_threadpool(_make, browsing, wanted)

    @router.post(f"{PATH}/import")
    async def take_in(request: Request, file: str) -> dict[str, Any]:
        return await run_in_threadpool(_take_in, browsing, file, await request.body())

    @router.delete(f"{PATH}/{{title}}")
    def remove(title: str) -> dict[str, str]:
        _require(browsing, title)
        remove_subset(browsing.project, title)
        return {"title": title}

    @router.get(f"{PATH}/{{title}}/export")
    def export(title: str, form: str = "names") -> Response:
        _require(browsing, title)
        if form not in get_args(Form):
            raise PomError(f"A subset is exported as {listed(get_args(Form))}, not as {form[:20]!r}.")
        ending = FORMS[form][2]
        with tempfile.TemporaryDirectory(prefix="pom-") as folder:
            path = Path(folder) / f"subset{ending}"
            export_subset(browsing.project, title, path, form)  # type: ignore[arg-type]  # one of Form's, as asked
            content = path.read_bytes()
        name = quote(f"{title}{ending}", safe="")
        headers = {"content-disposition": f"attachment; filename*=UTF-8''{name}", "cache-control": "no-store"}
        return Response(content, media_type="application/octet-stream", headers=headers)


def _shown(browsing: Browsing, view: View, title: str, known: Collection[str]) -> dict[str, Any]:
    try:
        names = subset_names(browsing.project, title)
        written = browsing.project.subset(title).stat().st_mtime
    except (PomError, OSError) as error:
        return {"title": title, "fault": str(error), "path": f"{PATH}/{quote(title, safe='')}"}
    strangers = [name for name in names if name not in known]
    query = Query(subset=title)
    return {
        "title": title,
        "fault": "",
        "path": f"{PATH}/{quote(title, safe='')}",
        "count": len(names) - len(strangers),
        "strangers": listed(strangers),
        "n_strangers": len(strangers),
        "written": time.strftime("%Y-%m-%d %H:%M", time.localtime(written)),
        "table": view.address(f"{BROWSE}/table", query=query),
        "gallery": view.address(f"{BROWSE}/gallery", query=query),
    }


def _make(browsing: Browsing, wanted: NewSubset) -> dict[str, Any]:
    browsing = browsing.now()  # a column that is known to the query must not be gone when it selects
    project, title = browsing.project, wanted.title.strip()
    if (wanted.names is None) == (wanted.query is None):
        raise PomError("A subset is made either of names or of a query.")
    names: Sequence[str]
    if wanted.query is not None:
        query = browsing.atlas.query(parse_qs(wanted.query))
        if query.dropped:  # more tomograms than were meant
            raise PomError(f"That query cannot be understood: {query.dropped[0]}")
        names = browsing.atlas.select(query)
    else:
        names = wanted.names or []
        known = browsing.known()
        strangers = [name for name in names if name not in known]
        if strangers:
            raise NotFoundError(f"There is no tomogram {listed(strangers)} in this project.")
    if not names:
        raise PomError("A subset needs at least one tomogram.")
    with changing(project, CHANGED):
        there = title in list_subsets(project)
        if there and wanted.mode == "new":
            raise ConflictError(f"There is a subset {title!r} already: add to it, replace it, or choose another title.")
        if there and wanted.mode == "add":
            names = list(dict.fromkeys([*subset_names(project, title), *names]))
        write_subset(project, title, names)
    return {"title": title, "count": len(names)}


def _take_in(browsing: Browsing, file: str, content: bytes) -> dict[str, Any]:
    """Makes a subset of a file; it is called as the file is."""
    project, named = browsing.project, Path(file.replace("\\", "/"))
    title = named.stem.strip()
    fault = name_fault(title)
    if fault is not None:
        raise PomError(f"The file's name {fault}: rename it.")
    with tempfile.TemporaryDirectory(prefix="pom-") as folder:
        suffix = named.suffix.lower()
        path = Path(folder) / f"list{suffix if suffix in READERS else ENDING}"
        path.write_bytes(content)
        try:
            found = import_names(project, path)
        except PomError as error:
            raise PomError(str(error).replace(str(path), named.name)) from error
    if not found.names:
        raise PomError(f"{named.name} names no tomogram of this project, but {listed(found.unknown)}.")
    with changing(project, CHANGED):
        if title in list_subsets(project):
            raise ConflictError(f"There is a subset {title!r} already: rename the file, or remove the subset.")
        write_subset(project, title, found.names)
    left = f"; {counted(len(found.unknown), 'name')} of none here left out: {listed(found.unknown)}"
    said = f"{title} has {counted(len(found.names), 'tomogram')}{left if found.unknown else ''}."
    return {"title": title, "count": len(found.names), "unknown": list(found.unknown), "said": said}


def _require(browsing: Browsing, title: str) -> None:
    if title not in list_subsets(browsing.project):
        raise NotFoundError(f"There is no subset {title!r}.")
