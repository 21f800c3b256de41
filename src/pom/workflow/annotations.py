"""The annotations of a project in their two forms, files of Ais and Pom's own: the newer of the two counts."""

import logging
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pom.errors import PomError
from pom.io.annotation_document import DOCUMENT, read_document
from pom.io.annotation_store import AnnotationStore
from pom.io.scns import Annotation, Feature, read_scns
from pom.io.stamps import FileStamp, stamp_of
from pom.project.paths import Project
from pom.workflow.annotation_forms import Conversion, export_scns, import_scns, take_in, tomogram_of
from pom.workflow.annotation_forms import require_size as _require_size

__all__ = [
    "AnnotationSummary",
    "Conversion",
    "annotated",
    "annotation_of",
    "export_scns",
    "import_scns",
    "in_both_forms",
    "last_change",
    "newer_annotation",
    "open_for_editing",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AnnotationSummary:
    """What one tomogram's annotation holds, per feature title, in the order of the features.

    Attributes:
        form: ``native``, or ``scns`` for a file of Ais.
        boxes: how many boxes; a feature without any has 0.
        drawn: in how many slices something of it was ever drawn.
        fault: what is wrong where the annotation cannot be read, a sentence; there are no titles then.
    """

    form: Literal["native", "scns"]
    boxes: Mapping[str, int]
    drawn: Mapping[str, int]
    fault: str = ""

    @property
    def titles(self) -> tuple[str, ...]:
        """The features' titles, each once."""
        return tuple(self.boxes)


def newer_annotation(project: Project, name: str) -> Path | None:
    """The form that counts: the one that was changed last, the native one where both are as old; None for neither.

    A native annotation without its JSON counts, so that whoever reads it says so and no older form steps in.
    """
    scns, native = project.annotation(name), project.native_annotation(name)
    if not native.is_dir():
        return scns if os.path.lexists(scns) else None
    of_native, of_scns = _status(native / DOCUMENT), _status(scns)
    return scns if of_native and of_scns and of_scns.st_mtime_ns > of_native.st_mtime_ns else native


def last_change(project: Project, name: str) -> float | None:
    """When a tomogram's annotation was changed last, in either form, in seconds since 1970; None for neither."""
    found = [_status(project.annotation(name)), _status(project.native_annotation(name) / DOCUMENT)]
    return max((status.st_mtime for status in found if status is not None), default=None)


def in_both_forms(project: Project, name: str) -> bool:
    """Whether a tomogram is annotated in a file of Ais and in Pom's own form."""
    return project.annotation(name).exists() and project.native_annotation(name).is_dir()


def annotation_of(project: Project, name: str) -> Annotation | None:
    """The annotation of a tomogram, the newer of its forms, said aloud where there are both; None for neither.

    Raises:
        PomError: it cannot be read.
    """
    path = newer_annotation(project, name)
    if path is None:
        return None
    if in_both_forms(project, name):
        log.info("%s is annotated in both forms: %s counts, as the other is not newer.", name, path.name)
    return AnnotationStore.open(path).annotation() if path.is_dir() else read_scns(path)


def annotated(project: Project) -> dict[str, AnnotationSummary]:
    """What is annotated, by tomogram, sorted; no masks of native annotations are read.

    Of each annotation it is remembered what it holds, for as long as its file stays the same.
    """
    newer = ((name, newer_annotation(project, name)) for name in project.annotated_names())
    found = {name: path for name, path in newer if path is not None}
    folder, paths = project.tomogram_dir.absolute(), {path.absolute() for path in found.values()}
    for gone in [path for path in list(_remembered) if path.parent == folder and path not in paths]:
        _remembered.pop(gone, None)
    return {name: _summary(path) for name, path in found.items()}


_remembered: dict[Path, tuple[FileStamp, AnnotationSummary]] = {}
"""All of the projects that were asked about, however many: a cache of a fixed size forgets each before it is asked for
again, once there are more."""


def _summary(path: Path) -> AnnotationSummary:
    status = _status(path / DOCUMENT if path.is_dir() else path)
    if status is None:
        return _summarise(path)
    stamp, known = stamp_of(status), _remembered.get(path.absolute())
    if known is None or known[0] != stamp:
        known = _remembered[path.absolute()] = stamp, _summarise(path)
    return known[1]


def _summarise(path: Path) -> AnnotationSummary:
    form: Literal["native", "scns"] = "native" if path.is_dir() else "scns"
    boxes: Counter[str] = Counter()
    drawn: Counter[str] = Counter()
    try:
        for feature in read_document(path)[0].features if form == "native" else read_scns(path).features:
            boxes[feature.title] += sum(map(len, feature.boxes.values()))
            drawn[feature.title] += len(feature.slices if isinstance(feature, Feature) else feature.drawn)
    except PomError as error:
        return AnnotationSummary(form, {}, {}, str(error))
    return AnnotationSummary(form, boxes, drawn)


def open_for_editing(project: Project, name: str) -> AnnotationStore:
    """The native annotation of a tomogram; made where there is none, and from the file of Ais where that is newer.

    An older native annotation is then kept aside under another name.

    Raises:
        PomError: there is no such tomogram, an annotation cannot be read, or it is of a tomogram of another size.
    """
    shape, pixel_size = tomogram_of(project, name)
    native = project.native_annotation(name)
    path = newer_annotation(project, name)
    if path is None:
        return AnnotationStore.create(native, shape=shape, pixel_size=pixel_size)
    if path != native:
        take_in(project, name, Conversion())
    store = AnnotationStore.open(native)
    _require_size(native, store.shape, project.tomogram(name), shape)
    return store


def _status(path: Path) -> os.stat_result | None:
    """When a file was changed, among other things; None where it is not there."""
    try:
        return path.stat()
    except OSError:
        return None
