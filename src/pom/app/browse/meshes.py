"""The surfaces of a tomogram's features, for the 3-D view: made once, and kept."""

import contextlib
import glob
import hashlib
import json
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from nicegui import app

from pom.app.answers import NotFoundError
from pom.app.browse.apart import Apart
from pom.app.browse.browsing import Browsing
from pom.app.slices.routes import ASK_AGAIN, FOREVER
from pom.app.slices.waiting import Newest
from pom.errors import PomError
from pom.io.atomic import write_bytes
from pom.io.feature_library import Preset
from pom.io.mrc import pixel_size_nm, read_header
from pom.io.stamps import file_stamp
from pom.io.volume_files import stored_at
from pom.project.paths import Project
from pom.workflow.feature_volumes import feature_file

PATH = "/api/meshes"
FORM = 2
"""Of the files; a change makes all of them anew."""
MOST_TRIANGLES = 150_000
"""Of a feature; a laptop without a GPU turns three of them smoothly."""
MOST_WAITING = 32
MEDIA_TYPE = "model/gltf-binary"


def mesh_routes(router: APIRouter, browsing: Browsing) -> None:
    """Adds GET /api/meshes/NAME/FEATURE: a GLB file, or 204 where nothing of the feature is above its level."""
    apart = Apart()
    app.on_shutdown(apart.close)
    making = Newest(1, MOST_WAITING)
    folder = browsing.project.browse_cache / "meshes"

    @router.get(f"{PATH}/{{name}}/{{feature}}")
    async def mesh(name: str, feature: str, request: Request, v: str = "") -> Response:
        def make() -> tuple[bytes, str]:
            preset = browsing.library().get(feature)
            tag = mesh_tag(browsing.project, name, preset) if preset and browsing.knows(name) else None
            if preset is None or tag is None:
                raise NotFoundError(f"There is no segmentation of {feature!r} in {name!r}.")
            kept = folder / name / f"{feature}-{tag}.glb"
            with contextlib.suppress(OSError):
                return kept.read_bytes(), tag
            content = apart.call(make_mesh, browsing.project, name, preset)
            _keep(kept, content, feature)
            return content, tag

        content, tag = await making.do(make, request.is_disconnected)
        headers = {"cache-control": FOREVER if v == tag else ASK_AGAIN}
        if not content:
            return Response(status_code=204, headers=headers)
        return Response(content, media_type=MEDIA_TYPE, headers=headers)


def mesh_address(project: Project, name: str, preset: Preset) -> str:
    """The address of a feature's surface; empty where there is no segmentation."""
    tag = mesh_tag(project, name, preset)
    return f"{PATH}/{quote(name, safe='')}/{quote(preset.title, safe='')}?v={tag}" if tag else ""


def mesh_tag(project: Project, name: str, preset: Preset) -> str | None:
    """A short text that changes with what a surface is made of; None where there is no segmentation."""
    path = feature_file(project, name, preset.title)
    if path is None:
        return None
    look = [preset.level, preset.dust, preset.colour, preset.render_alpha]
    settings = project.configuration
    made_from = [FORM, look, file_stamp(stored_at(path)), settings.z_margin_summary, settings.apix, settings.binning]
    return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()[:16]


def make_mesh(project: Project, name: str, preset: Preset) -> bytes:
    """The GLB file of a feature, in nm from the tomogram's first corner; no bytes where nothing is above its level.

    Raises:
        PomError: there is no segmentation, or it is damaged.
    """
    from pom.render.glb import Part, glb
    from pom.workflow.render import feature_surface

    surface = feature_surface(project, name, preset, MOST_TRIANGLES)
    if not len(surface.faces):
        return b""
    return glb([Part(preset.title, surface, preset.colour, preset.render_alpha)])


def box_of(project: Project, name: str) -> list[float]:
    """The size (x, y, z) of a tomogram in nm, in which its surfaces lie; empty where there is no such volume."""
    with contextlib.suppress(PomError):
        header = read_header(project.tomogram(name))
        nm = pixel_size_nm(header, project.configuration.apix)
        return [length * nm for length in header.shape[::-1]]
    return []


def _keep(path: Path, content: bytes, feature: str) -> None:
    """Keeps a surface instead of older ones of its feature; a folder that cannot be written costs time only."""
    with contextlib.suppress(PomError, OSError):
        write_bytes(path, content, lasting=False)
        for other in path.parent.glob(f"{glob.escape(feature)}-{'?' * 16}.glb"):
            if other != path:
                other.unlink(missing_ok=True)
