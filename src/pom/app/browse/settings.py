"""Settings of the pictures: how features look, what the compositions show, and a preview of both."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from io import BytesIO
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from nicegui import app
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, JSONResponse

from pom.app.answers import ConflictError, NotFoundError
from pom.app.browse.apart import Apart
from pom.app.browse.browsing import Browsing
from pom.app.browse.pages import BROWSE, View, page
from pom.app.slices.waiting import Newest
from pom.errors import PomError
from pom.io.feature_library import FeatureLibrary, Preset, entry_of, preset_from
from pom.io.stamps import file_stamp, stamp_text
from pom.jobs.background import BackgroundJobs, JobReport, State
from pom.project.names import UNKNOWN
from pom.project.paths import Project
from pom.project.render_configuration import NOT, Composition, configuration_text, misspelt
from pom.words import listed
from pom.workflow.alone import changing
from pom.workflow.feature_library import change_library, complete_library, load_library
from pom.workflow.feature_volumes import feature_file, known_features
from pom.workflow.render import project_compositions, render_picture, save_compositions

PATH = "/api/settings"
SIDE = 640
"""Of the preview, in pixels."""
MOST_WAITING = 8
RANKS = 5
"""So many ranks are offered; more can be typed."""
MOST_SAID = 3
"""So many faults of the compositions are told at a time."""
RENDER = "render"

Text = Annotated[str, Field(max_length=200)]


class Look(BaseModel):
    """What is changed of a feature's preset; what is left out stays, and what stands here for it means nothing."""

    model_config = ConfigDict(extra="forbid")

    colour: Text = ""
    level: float = 0.0
    dust: float = 0.0
    render_alpha: float = 0.0
    hide: bool = False


Looks = Annotated[dict[Text, Look], Field(max_length=1000)]
Entries = Annotated[list[Text], Field(max_length=200)]


class Shown(BaseModel):
    """A composition as the page has it."""

    model_config = ConfigDict(extra="forbid")

    name: Text
    entries: Entries


class Preview(BaseModel):
    """A picture that is wanted. ``page``: which page wants it; it wants one at a time."""

    model_config = ConfigDict(extra="forbid")

    page: Text
    tomogram: Text
    entries: Entries
    features: Looks


class Changes(BaseModel):
    """What is to be saved. ``tag``: of the compositions as the page read them; without ``compositions`` they stay."""

    model_config = ConfigDict(extra="forbid")

    features: Looks
    compositions: Annotated[list[Shown], Field(max_length=200)] | None = None
    tag: Text = ""


def settings_routes(router: APIRouter, browsing: Browsing) -> None:
    """Adds the page /browse/settings, and the routes below /api/settings."""
    apart = Apart()
    app.on_shutdown(apart.close)
    drawing = Newest(1, MOST_WAITING)
    jobs = BackgroundJobs(browsing.project.background_jobs, browsing.project.folder)

    @router.get(f"{BROWSE}/settings")
    def settings(request: Request) -> HTMLResponse:
        return page(browsing, request, "settings.html", fill_settings)

    @router.post(f"{PATH}/preview")
    async def preview(wanted: Preview, request: Request) -> Response:
        apart.break_off(wanted.page)  # a picture of settings that are no more

        def draw() -> tuple[bytes, tuple[str, ...]]:
            project, name = browsing.project, wanted.tomogram
            library = looking(project, wanted.features)
            there, missing = shown_features(browsing.now(), name, wanted.entries, library)
            return apart.call(draw_preview, project, name, there, library, whose=wanted.page), missing

        content, missing = await drawing.do(draw, request.is_disconnected)
        headers = {"cache-control": "no-store", "pom-missing": quote(listed(missing))}
        return Response(content, media_type="image/png", headers=headers)

    @router.put(PATH)
    async def save(changes: Changes) -> dict[str, str]:
        return await run_in_threadpool(save_settings, browsing.project, changes)

    @router.get(f"{PATH}/rendering")
    def rendering() -> JSONResponse:
        return JSONResponse(job_answer(last_rendering(jobs)), headers={"cache-control": "no-store"})

    @router.post(f"{PATH}/rendering")
    def start() -> dict[str, Any]:
        jobs.start((RENDER, "-p", str(max(1, (os.cpu_count() or 1) // 2))))
        return job_answer(last_rendering(jobs))

    @router.delete(f"{PATH}/rendering")
    def stop() -> dict[str, Any]:
        report = last_rendering(jobs)
        if report is not None:
            jobs.stop(report.job.id)
        return job_answer(last_rendering(jobs))


@dataclass(frozen=True)
class Row:
    """A feature as the page lists it."""

    title: str
    colour: str
    level: int
    dust: str
    render_alpha: str
    hide: bool
    known: bool
    """Whether the project has it; a library may hold features of others."""


def fill_settings(browsing: Browsing, _view: View) -> dict[str, Any]:
    """What the page of the settings shows.

    Raises:
        PomError: the feature library or the compositions' file is damaged.
    """
    project = browsing.project
    known = known_features(project)
    library = complete_library(project, load_library(project))
    compositions = project_compositions(project)
    tomogram = browsing.segmented()
    seen = [number for number, each in enumerate(compositions) if _shows(browsing, tomogram, each, library)]
    return {
        "rows": [_row(preset, known) for preset in sorted(library.presets, key=lambda p: p.title not in known)],
        "compositions": [asdict(each) for each in compositions], "tag": compositions_tag(project),
        "shown": seen[0] if seen else 0, "tomograms": browsing.names(), "tomogram": tomogram,
        "offered": [*known, *(f"rank{n + 1}" for n in range(RANKS)), *(f"{NOT}{each}" for each in known)],
    }  # fmt: skip


def _shows(browsing: Browsing, name: str, composition: Composition, library: FeatureLibrary) -> bool:
    try:
        shown_features(browsing, name, composition.entries, library)
    except PomError:
        return False
    return True


def _row(preset: Preset, known: Sequence[str]) -> Row:
    return Row(
        preset.title, preset.hex_colour, preset.level, f"{preset.dust:g}", f"{preset.render_alpha:g}", preset.hide,
        preset.title in known,
    )  # fmt: skip


def compositions_tag(project: Project) -> str:
    """A text that changes with the compositions' file."""
    return stamp_text(file_stamp(project.render_configuration))


def looking(project: Project, looks: Mapping[str, Look]) -> FeatureLibrary:
    """The project's library with some changes.

    Raises:
        PomError: a change is none, or the library is damaged.
    """
    complete = complete_library(project, load_library(project))
    return _changed(complete, complete, looks)


def _settled(project: Project, library: FeatureLibrary) -> FeatureLibrary:
    """The library with the presets of all features but Unknown, whose colour is its own.

    A feature without a preset has a colour that is free, and would get another one, once one that comes before it is
    given up.
    """
    complete = complete_library(project, library)
    return complete if library.get(UNKNOWN) is not None else complete.without(UNKNOWN)


def _changed(library: FeatureLibrary, others: FeatureLibrary, looks: Mapping[str, Look]) -> FeatureLibrary:
    """``others``: has the presets that the library may lack."""
    for title, look in looks.items():
        preset = library.get(title) or others.get(title)
        if preset is None:
            raise NotFoundError(f"There is no feature {title!r}: load the page again.")
        changed = {**entry_of(preset), **look.model_dump(exclude_unset=True)}
        library = library.with_preset(preset_from(changed, title))
    return library


def shown_features(
    browsing: Browsing, name: str, entries: Sequence[str], library: FeatureLibrary
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The features that a picture shows, and those that it would if there were a segmentation of them.

    Raises:
        PomError: there would be nothing in it, or the tomogram is not known.
    """
    project = browsing.project
    if not browsing.knows(name):
        raise NotFoundError(f"There is no tomogram {name!r} in this project.")
    composition = Composition("preview", tuple(entries))
    if composition.has_ranks and name not in browsing.atlas.table().index:
        raise PomError(f"{name} is not summarised, so that nothing has a rank in it: run 'pom summarize' first.")
    wanted = composition.features(partial(browsing.atlas.ranked, name))
    visible = [title for title in wanted if (preset := library.get(title)) is None or not preset.hide]
    missing = tuple(title for title in visible if feature_file(project, name, title) is None)
    there = tuple(title for title in visible if title not in missing)
    if not there:
        hidden = "all that it lists is hidden, or it lists nothing"
        why = f"there is no segmentation of {listed(missing)}" if missing else hidden
        raise PomError(f"The composition shows nothing of {name}: {why}.")
    return there, missing


def draw_preview(project: Project, name: str, features: Sequence[str], library: FeatureLibrary) -> bytes:
    """The bytes of a PNG.

    Raises:
        PomError: as ``render_picture``.
    """
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(render_picture(project, name, features, library, SIDE)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def save_settings(project: Project, changes: Changes) -> dict[str, str]:
    """Writes what was changed.

    Returns:
        ``tag``: of the compositions as they are then; ``said``: what in them names nothing there is, if they were
        written; sentences.

    Raises:
        ConflictError: somebody else has changed the compositions since.
        PomError: a value cannot be like this, or a file cannot be written.
    """
    looking(project, changes.features)  # nothing is written where something is wrong
    if changes.compositions is None:
        _save_looks(project, changes.features)
        return {"tag": compositions_tag(project), "said": ""}
    made = [Composition(each.name.strip(), tuple(each.entries)) for each in changes.compositions]
    configuration_text(project.render_configuration, made)
    with changing(project, "compositions"):
        if compositions_tag(project) != changes.tag:
            raise ConflictError(
                f"{project.render_configuration.name} was changed by somebody else since: load the page again."
            )
        # First what has no tag: should the second not be written, the page's tag still holds, and it can save again.
        _save_looks(project, changes.features)
        save_compositions(project, made)
        faults = " ".join(misspelt(made, known_features(project))[:MOST_SAID])
        return {"tag": compositions_tag(project), "said": f"Saved, but {faults}" if faults else ""}


def _save_looks(project: Project, looks: Mapping[str, Look]) -> None:
    if looks:
        others = complete_library(project, load_library(project))
        change_library(project, lambda library: _changed(_settled(project, library), others, looks))


def last_rendering(jobs: BackgroundJobs) -> JobReport | None:
    """The last 'pom render' that a page has started."""
    return next((report for report in jobs.reports() if report.job.command[:1] == (RENDER,)), None)


def job_answer(report: JobReport | None) -> dict[str, Any]:
    """How a job stands, for the page."""
    if report is None:
        return {"state": "", "done": 0, "total": 0, "last": ""}
    last = report.reason or next(iter(report.lines[-1:]), "")
    if report.state is State.LOST:
        last = "it was killed, or the machine went down"
    return {"state": report.state.value, "done": report.done, "total": report.total, "last": last}
