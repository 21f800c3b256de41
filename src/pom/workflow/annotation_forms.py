"""Annotations from one form to the other; what would be overwritten is kept beside it under another name."""

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pom.errors import DiskError, PomError
from pom.io.annotation_document import DOCUMENT, read_document
from pom.io.annotation_store import AnnotationStore, write_annotation
from pom.io.atomic import atomic_folder, write_error
from pom.io.mrc import MrcReader, pixel_size_nm, read_header
from pom.io.scns import Annotation, Feature, read_scns, write_scns
from pom.jobs.editing import EditRights
from pom.progress import track
from pom.project.listing import list_tomograms
from pom.project.names import did_you_mean
from pom.project.paths import Project

log = logging.getLogger(__name__)


@dataclass
class Conversion:
    """What became of the annotations that were to be converted.

    ``done``: what was written. ``unchanged``: the tomograms whose other form holds the same already. ``kept``: where
    what was overwritten is now. ``failed``: the tomograms that could not be converted, with the reason.
    """

    done: list[Path] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def export_scns(project: Project, names: Sequence[str]) -> Conversion:
    """Writes native annotations as files of Ais, which are then as old as they; without names, all there are.

    Raises:
        PomError: a name has no native annotation, or there are none at all; or the disk is full.
    """
    found = list_tomograms(project.tomogram_dir).native_annotations
    how = "draw with 'pom annotate' first, or give 'pom annotations import' where {name}.scns is there"
    return _convert(project, _chosen(project, names, found, "native annotation", how), give_out)


def import_scns(project: Project, names: Sequence[str]) -> Conversion:
    """Takes files of Ais over as native annotations, which are then as old as they; without names, all there are.

    A tomogram that somebody edits meanwhile fails, and nobody can begin to while it is imported.

    Raises:
        PomError: a name has no file of Ais, or there are none at all; or the disk is full.
    """
    found = list_tomograms(project.tomogram_dir).annotations
    chosen = _chosen(project, names, found, "annotation of Ais (.scns)", "save {name}.scns beside {name}.mrc")
    rights = EditRights(project.editing_claims)

    def take_in_alone(project: Project, name: str, conversion: Conversion) -> None:
        with rights.held(name) as claim:
            take_in(project, name, conversion, claim.check)

    try:
        return _convert(project, chosen, take_in_alone)
    finally:
        rights.close()


def _convert(project: Project, names: Sequence[str], convert: Callable[[Project, str, Conversion], None]) -> Conversion:
    conversion = Conversion()
    for name in track(names, "Annotations", len(names)):
        try:
            convert(project, name, conversion)
        except DiskError:
            raise
        except PomError as error:
            conversion.failed[name] = str(error)
    return conversion


def _chosen(project: Project, names: Sequence[str], found: Sequence[str], what: str, how: str) -> list[str]:
    """The tomograms to convert.

    Args:
        project: whose tomograms.
        names: as a person gave them; without any, all that are found.
        found: of the tomograms that can be converted.
        what: they have.
        how: a tomogram gets that, as the end of a sentence; ``{name}`` stands for its name.

    Raises:
        PomError: there is none, or one of the names is not among them.
    """
    if not found:
        raise PomError(f"There is no {what} in {project.tomogram_dir}: {how.format(name='NAME')}.")
    for name in names:
        if name in found:
            continue
        if project.tomogram(name).exists():
            raise PomError(f"{name} has no {what} in {project.tomogram_dir}: {how.format(name=name)}.")
        hint = did_you_mean(name, found)
        raise PomError(f"{name!r} has no {what} in {project.tomogram_dir}{hint}: give tomograms' names without .mrc.")
    return list(dict.fromkeys(names)) or list(found)


def give_out(project: Project, name: str, conversion: Conversion) -> None:
    """Writes a native annotation as a file of Ais; one that is there and holds something else is kept aside.

    Raises:
        PomError: the annotation cannot be read, or the file cannot be written.
    """
    native, scns = project.native_annotation(name), project.annotation(name)
    annotation = AnnotationStore.open(native).annotation()
    there = os.path.lexists(scns)
    if there and _same(annotation, _read_if_sound(scns)):
        conversion.unchanged.append(name)
        return
    kept = _second_name(scns) if there else None
    try:
        write_scns(scns, annotation, _middle_slice(project, name, annotation))
    except BaseException:
        if kept is not None:
            _put_back(kept, scns)
        raise
    _set_age(scns, native / DOCUMENT)
    conversion.kept += [kept] if kept else []
    conversion.done.append(scns)


def take_in(
    project: Project, name: str, conversion: Conversion, before_writing: Callable[[], object] = lambda: None
) -> None:
    """Makes a native annotation of a file of Ais; one that is there and holds something else is kept aside.

    ``before_writing`` is called before anything of that is seen, and may raise a ``PomError`` to prevent it.

    Raises:
        PomError: the file cannot be read or is of a tomogram of another size, or the annotation cannot be written.
    """
    native, scns = project.native_annotation(name), project.annotation(name)
    annotation = read_scns(scns)
    shape, _ = tomogram_of(project, name)
    require_size(scns, (annotation.n_slices, annotation.height, annotation.width), project.tomogram(name), shape)
    there = os.path.lexists(native)
    if there and _same(annotation, _read_if_sound(native)):
        conversion.unchanged.append(name)
        return
    with atomic_folder(native) as folder:
        write_annotation(folder, annotation, revision=_revision(native) + 1)
        _set_age(folder / DOCUMENT, scns)
        before_writing()
        kept = _set_aside(native) if there else None
    conversion.kept += [kept] if kept else []
    conversion.done.append(native)
    if kept is not None:
        log.info("%s was taken over; the native annotation before it is kept as %s.", scns.name, kept.name)


def tomogram_of(project: Project, name: str) -> tuple[tuple[int, int, int], float]:
    """The shape (z, y, x) of a tomogram in voxels, and its pixel size in nm.

    Raises:
        PomError: it is not there, or damaged.
    """
    path = project.tomogram(name)
    if not path.exists():
        raise PomError(f"There is no tomogram {path}: an annotation needs its tomogram beside it.")
    header = read_header(path)
    return header.shape, pixel_size_nm(header, project.configuration.apix)


def require_size(path: Path, found: tuple[int, int, int], tomogram: Path, shape: tuple[int, int, int]) -> None:
    """Sees to it that an annotation is of a tomogram of this size, (z, y, x) in voxels.

    Raises:
        PomError: it is not.
    """
    if found != shape:
        raise PomError(
            f"{path} annotates a tomogram of {found} voxels (z, y, x), but {tomogram} has {shape}; put the annotated"
            " tomogram there."
        )


def _same(one: Annotation, other: Annotation | None) -> bool:
    """Whether two annotations hold the same features, boxes and drawn pixels, wherever the tomogram was."""
    if other is None or len(one.features) != len(other.features):
        return False
    sizes = [(annotation.n_slices, annotation.height, annotation.width) for annotation in (one, other)]
    try:
        return sizes[0] == sizes[1] and all(map(_same_feature, one.features, other.features))
    except PomError:  # a mask is damaged
        return False


def _same_feature(one: Feature, other: Feature) -> bool:
    marks = [
        (f.title, f.box_size, f.colour, {z: [tuple(c) for c in boxes] for z, boxes in f.boxes.items() if boxes})
        for f in (one, other)
    ]
    return (
        marks[0] == marks[1]
        and set(one.slices) == set(other.slices)
        and all(np.array_equal(one.slices[z] != 0, other.slices[z] != 0) for z in one.slices)
    )


def _read_if_sound(path: Path) -> Annotation | None:
    try:
        return AnnotationStore.open(path).annotation() if path.is_dir() else read_scns(path)
    except PomError:
        return None


def _revision(native: Path) -> int:
    try:
        return read_document(native)[0].revision
    except PomError:
        return -1


def _middle_slice(project: Project, name: str, annotation: Annotation) -> NDArray[np.float32] | None:
    """What Ais shows first, (y, x); None where the tomogram is not there or another one."""
    middle = annotation.n_slices // 2
    with contextlib.suppress(PomError), MrcReader(project.tomogram(name)) as reader:
        if reader.header.shape == (annotation.n_slices, annotation.height, annotation.width):
            image: NDArray[np.float32] = reader.read(middle, middle + 1)[0].astype(np.float32)
            return image
    return None


def _second_name(path: Path) -> Path:
    """Gives a file the name of what is kept, too, so that at no moment it has none; another then takes its place."""
    kept = _name_to_keep(path, path)
    try:
        kept.hardlink_to(path)
    except OSError:  # a disk without hard links
        return _set_aside(path)
    return kept


def _put_back(kept: Path, path: Path) -> None:
    if path.exists():
        kept.unlink()  # still the second name of the same file
    else:
        kept.rename(path)


def _set_aside(path: Path) -> Path:
    kept = _name_to_keep(path, path / DOCUMENT if path.is_dir() else path)
    try:
        return path.rename(kept)
    except OSError as error:
        raise write_error(kept, error) from error


def _name_to_keep(path: Path, changed: Path) -> Path:
    """A free name that no listing takes for an annotation, with its last change: ``TS_1.scns.kept-20250102-030405``."""
    try:
        moment = datetime.fromtimestamp(changed.stat().st_mtime, UTC)
    except OSError:
        moment = datetime.now(UTC)
    stem = f"{path.name}.kept-{moment:%Y%m%d-%H%M%S}"
    names = (path.with_name(f"{stem}-{number}" if number > 1 else stem) for number in count(1))
    return next(name for name in names if not os.path.lexists(name))


def _set_age(path: Path, like: Path) -> None:
    """Makes a file as old as another that holds the same: neither is the newer then, and nothing seems changed."""
    with contextlib.suppress(OSError):
        times = like.stat()
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
