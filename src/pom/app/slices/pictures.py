"""What a request asks for, looked up in the project, and the picture of it."""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pom.app.answers import DroppedError, NotFoundError
from pom.app.numbers import whole
from pom.app.slices.images import jpeg, png, share_to_grey, to_grey
from pom.app.slices.layers import Layer, layers_of, share_of_one, slice_of_layer
from pom.app.slices.volumes import Range, Volumes, contrast, tag_of
from pom.app.slices.waiting import Gone, Newest
from pom.errors import PomError
from pom.io.checkpoints import CARD_FILE
from pom.io.mrc import pixel_size_nm, read_header
from pom.project.paths import Project

if TYPE_CHECKING:
    from pom.workflow.slice_preview import SlicePreview

MOST_PREPARED = 4
"""Tomograms that wait to be prepared, and networks that are."""
SECONDS_KEPT = 1.0
"""For which a list of names is good; a folder of thousands takes a while to read."""
LARGEST_SLAB = 101


@dataclass(frozen=True)
class Picture:
    """One slice as a picture, still to be made."""

    file_tag: str
    """Of the file that it shows, or of the network and its inputs."""
    variant: str
    """Which slice of it, and how."""
    media_type: str
    make: Callable[[], bytes]
    slow: bool = False
    """Whether it takes a network."""

    @property
    def tag(self) -> str:
        """Another one, once the picture is another one."""
        return f"{self.file_tag}.{self.variant}"


class Pictures:
    """Finds what is asked for by names; no path ever comes from a request. Every method may be called by any thread.

    Args:
        current: gives the project as it is now.
    """

    def __init__(self, current: Callable[[], Project]) -> None:
        self._current = current
        self._volumes = Volumes()
        self._lock = threading.Lock()
        self._names: frozenset[str] = frozenset()
        self._listed = -SECONDS_KEPT
        self._loading = threading.Lock()
        self._previews: tuple[Project, SlicePreview] | None = None
        self._preparing = Newest(1, MOST_PREPARED)

    def describe(self, name: str) -> dict[str, Any]:
        """A tomogram's size, and what can be laid over it.

        Raises:
            PomError: there is none of that name, or it is no readable volume.
        """
        project = self._project_with(name)
        path = project.tomogram(name)
        tag, header = tag_of(path), read_header(path)
        layers = [{"id": layer.id, "title": layer.title, "kind": layer.kind} for layer in layers_of(project, name)]
        nm = pixel_size_nm(header, project.configuration.apix)
        return {"name": name, "shape": list(header.shape), "voxel_size_nm": nm, "tag": tag, "layers": layers}

    def grey(self, name: str, z: int, n_slices: int) -> Picture:
        """The mean of ``n_slices`` slices of a tomogram around ``z``, with the contrast of the whole tomogram.

        Raises:
            PomError: there is no such tomogram, slice or slab, or it is no readable volume.
        """
        path = self._project_with(name).tomogram(name)
        if not 1 <= n_slices <= LARGEST_SLAB:
            raise PomError(f"A slab has 1 to {LARGEST_SLAB} slices, not {n_slices}.")

        def make() -> bytes:
            with self._volumes.open(path) as volume:
                limits: Range = volume.measured(contrast)
                return jpeg(to_grey(volume.slab(z, n_slices), *limits))

        with self._volumes.open(path) as volume:
            _check_slice(z, volume.header.shape[0])
            return Picture(volume.tag, f"{z}.{n_slices}", "image/jpeg", make)

    def layer(self, name: str, layer_id: str, z: int) -> Picture:
        """A slice of a layer, 0..255 for 0..1; of the layer's own size in the plane.

        Raises:
            PomError: there is no such tomogram, layer or slice, or a volume cannot be used.
        """
        project = self._project_with(name)
        layer = next((layer for layer in layers_of(project, name) if layer.id == layer_id), None)
        if layer is None:
            raise NotFoundError(f"There is no layer {layer_id!r} of {name}.")
        with self._volumes.open(project.tomogram(name)) as tomogram:
            depth = tomogram.header.shape[0]
        _check_slice(z, depth)
        if layer.path is None:
            return self._preview(project, name, layer, z)
        return self._volume_slice(layer, z, depth)

    async def prepare(self, name: str, gone: Gone) -> None:
        """Finds out what the networks need to know of a tomogram, so that their first answer comes soon.

        One tomogram at a time, the last one first; nothing where no network is trained.

        Args:
            name: of the tomogram.
            gone: asks, once its turn has come, whether nobody looks at it any more.
        """
        with contextlib.suppress(DroppedError):
            await self._preparing.do(lambda: self._prepare(name), gone)

    def _prepare(self, name: str) -> None:
        from pom.workflow.slice_preview import ontologies_with_network

        with contextlib.suppress(PomError):  # who asks for an answer is told
            project = self._project_with(name)
            for ontology in ontologies_with_network(project)[:MOST_PREPARED]:
                self._previews_of(project).prepare(name, ontology)

    def _volume_slice(self, layer: Layer, z: int, depth: int) -> Picture:
        path = layer.path
        assert path is not None

        def make() -> bytes:
            with self._volumes.open(path) as volume:
                image, top = share_of_one(volume, slice_of_layer(z, depth, volume.header.shape[0]), layer.kind)
                return png(to_grey(image, 0.0, top))

        with self._volumes.open(path) as volume:
            return Picture(volume.tag, str(z), "image/png", make)

    def _preview(self, project: Project, name: str, layer: Layer, z: int) -> Picture:
        inputs = [path for path in project.input_files(name).values() if path.is_file()]
        tags = [tag_of(path) for path in (project.single_network(layer.title) / CARD_FILE, *inputs)]

        def make() -> bytes:
            return png(share_to_grey(self._previews_of(project).predict(name, layer.title, z)))

        return Picture("+".join(tags), str(z), "image/png", make, slow=True)

    def _previews_of(self, project: Project) -> "SlicePreview":
        # A lock of its own: torch takes seconds to load, and the slices need not wait for it.
        with self._loading:
            if self._previews is None or self._previews[0] is not project:
                from pom.networks.devices import choose_devices
                from pom.workflow.slice_preview import SlicePreview

                devices = choose_devices(None, project.configuration.GPUS)
                self._previews = project, SlicePreview(project, devices)
            return self._previews[1]

    def _project_with(self, name: str) -> Project:
        """The project, which has a tomogram of that name."""
        project = self._current()
        with self._lock:
            if time.monotonic() - self._listed >= SECONDS_KEPT:
                self._names = frozenset(project.tomogram_names())
                self._listed = time.monotonic()
            names = self._names
        if name not in names:
            raise NotFoundError(f"There is no tomogram {name!r} in this project.")
        return project


def number(text: str) -> int:
    """A whole number, 0 or more, as it stands in an address.

    Raises:
        PomError: it is none.
    """
    found = whole(text)
    if found is None:
        raise PomError(f"{text[:20]!r} is no number of slices or of a slice.")
    return found


def _check_slice(z: int, depth: int) -> None:
    if not 0 <= z < depth:
        raise NotFoundError(f"There is no slice {z}: the tomogram has {depth}, counted from 0.")
