"""Native annotations: a folder beside the tomogram with ``annotation.json`` and, per feature, a Zarr array of masks.

A change writes one chunk, then the JSON, each whole or not at all. Killed between the two, what was drawn is in its
chunk and is found again by its name. docs/annotation.md describes the form for other programs.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.annotation_document import DOCUMENT, Document, StoredFeature, now, read_document, read_feature
from pom.io.annotation_masks import REMOVED, DrawnSlices, Masks
from pom.io.atomic import atomic_folder, write_bytes, write_json
from pom.io.palette import default_colour
from pom.io.scns import Annotation, Feature
from pom.words import counted

__all__ = ["AnnotationStore", "StoredFeature", "write_annotation"]

log = logging.getLogger(__name__)


class AnnotationStore:
    """One native annotation, to read and to change; every change is on disk when its method returns.

    Any number of threads may use it. Of several stores on one folder, only the one that knows the latest revision
    may write.
    """

    def __init__(self, path: Path, document: Document, content: bytes) -> None:
        """Takes what ``read_document`` gave; use ``create`` or ``open``."""
        self.path = path
        self._document = document
        self._content = content
        self._masks = Masks(path, document.shape)
        self._lock = threading.RLock()

    @classmethod
    def create(cls, path: Path, *, shape: tuple[int, int, int], pixel_size: float) -> "AnnotationStore":
        """Makes an annotation without features.

        Args:
            path: the folder, which must not be there.
            shape: (z, y, x) of the tomogram in voxels.
            pixel_size: in nm.

        Raises:
            PomError: something lies there already, or the folder cannot be written.
        """
        if path.exists():
            raise PomError(f"{path} is there already: open it, or move it away.")
        with atomic_folder(path) as folder:
            write_bytes(folder / DOCUMENT, Document(shape, float(pixel_size), saved=now()).encoded())
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> "AnnotationStore":
        """Opens an annotation; what a killed process had drawn but not yet listed is listed again.

        Raises:
            PomError: it is not there, damaged, foreign, or made by a newer version.
        """
        document, content = read_document(path)
        masks = Masks(path, document.shape)
        features = tuple(
            replace(feature, drawn=tuple(sorted({*feature.drawn, *masks.slices(feature.id)})))
            for feature in document.features
        )
        return cls(path, replace(document, features=features), content)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) of the tomogram in voxels."""
        return self._document.shape

    @property
    def pixel_size(self) -> float:
        """In nm."""
        return self._document.pixel_size

    @property
    def revision(self) -> int:
        """Rises by one with every change."""
        return self._document.revision

    @property
    def features(self) -> tuple[StoredFeature, ...]:
        """The features as they are now, in the order of their making."""
        return self._document.features

    def feature(self, feature_id: str) -> StoredFeature:
        """The feature of this id.

        Raises:
            PomError: there is none.
        """
        for feature in self._document.features:
            if feature.id == feature_id:
                return feature
        raise PomError(f"{self.path} has no feature {feature_id!r}: it was removed, or never there.")

    def mask(self, feature_id: str, z: int) -> NDArray[np.uint8]:
        """What is drawn in a slice: uint8 (y, x), 0 or 1; a new array, all 0 where nothing was ever drawn.

        Raises:
            PomError: there is no such feature or slice, or the mask is damaged or gone.
        """
        feature = self.feature(feature_id)
        self._check_slice(z)
        if z not in feature.drawn:
            return np.zeros(self.shape[1:], np.uint8)
        return self._masks.read(feature, z)

    def write_patch(self, feature_id: str, z: int, y: int, x: int, mask: NDArray[np.bool_]) -> None:
        """Sets the pixels of a rectangle.

        Args:
            feature_id: of the feature drawn.
            z: the slice.
            y: of the rectangle's first pixel.
            x: of the same.
            mask: bool (h, w), what its pixels are then. Nothing is written where they are so already.

        Raises:
            PomError: the rectangle is not within the tomogram, somebody else changed the annotation, or it cannot
                be written; then what was drawn before is still there.
        """
        with self._lock:
            drawn = self.mask(feature_id, z)
            height, width = mask.shape
            if min(y, x) < 0 or y + height > self.shape[1] or x + width > self.shape[2]:
                raise PomError(
                    f"A patch of {height} x {width} pixels at y {y}, x {x} is not within the slice of"
                    f" {self.shape[1]} x {self.shape[2]} pixels (y, x) of {self.path}."
                )
            if np.array_equal(drawn[y : y + height, x : x + width] > 0, mask):
                return
            drawn[y : y + height, x : x + width] = mask
            self._check_latest()
            feature = self.feature(feature_id)
            self._masks.write(feature_id, z, drawn)
            changed = replace(feature, drawn=tuple(sorted({*feature.drawn, z})))
            # Listed at once: should the JSON fail, the next patch must still see what is in the chunk now.
            self._document = replace(self._document, features=self._with(changed))
            self._save(self._document.features)

    def set_boxes(self, feature_id: str, z: int, centres: Iterable[Sequence[float]]) -> None:
        """Replaces the boxes of a slice.

        Args:
            feature_id: whose boxes.
            z: the slice.
            centres: (x, y) in pixels; none takes all boxes of the slice away.

        Raises:
            PomError: there is no such feature or slice, a centre is none, somebody else changed the annotation, or
                it cannot be written.
        """
        with self._lock:
            feature = self.feature(feature_id)
            self._check_slice(z)
            boxes = {**feature.boxes, z: [(x, y) for x, y in centres]}
            if not boxes[z]:
                del boxes[z]
            self._change(replace(feature, boxes=boxes))

    def add_feature(self, title: str, box_size: int, colour: str) -> StoredFeature:
        """Adds a feature without boxes; ``box_size`` in pixels, ``colour`` as ``#rrggbb``.

        Raises:
            PomError: title, size or colour are none, somebody else changed the annotation, or it cannot be written.
        """
        with self._lock:
            feature = StoredFeature(self._masks.next_id(self.features), title, colour.lower(), box_size, {}, ())
            self._save([*self.features, feature.checked()])
            return feature

    def change_feature(
        self, feature_id: str, *, title: str | None = None, colour: str | None = None, box_size: int | None = None
    ) -> None:
        """Changes what is given of a feature; its boxes keep their centres.

        Raises:
            PomError: as ``add_feature``, or there is no such feature.
        """
        with self._lock:
            feature = self.feature(feature_id)
            self._change(
                replace(
                    feature,
                    title=feature.title if title is None else title,
                    colour=feature.colour if colour is None else colour.lower(),
                    box_size=feature.box_size if box_size is None else box_size,
                )
            )

    def remove_feature(self, feature_id: str) -> None:
        """Removes a feature; its entry and masks are kept in the folder ``removed``, until it is put back.

        Raises:
            PomError: there is no such feature, somebody else changed the annotation, or it cannot be written.
        """
        with self._lock:
            feature = self.feature(feature_id)
            self._check_latest()
            write_json(self.path / REMOVED / f"{feature_id}.json", feature.as_json())
            self._save([kept for kept in self.features if kept.id != feature_id])
            try:
                self._masks.remove(feature_id)
            except PomError as error:  # it is removed all the same, and what puts it back finds them here, too
                log.warning("The masks of %r stay where they were: %s", feature.title, error)

    def removed_features(self) -> tuple[StoredFeature, ...]:
        """The features that were removed and can be put back, in the order of their making."""
        there = {feature.id for feature in self.features}
        found = []
        for path in self._masks.removed():
            try:
                found.append(read_feature(path, self.shape))
            except PomError as error:
                log.warning("%s cannot be put back: %s", path.name, error)
        return tuple(feature for feature in found if feature.id not in there)

    def restore_feature(self, feature_id: str) -> StoredFeature:
        """Puts a removed feature back as it was: its id, its place, its boxes wherever they are, its masks.

        Raises:
            PomError: no such feature was removed, somebody else changed the annotation, or it cannot be written; then
                the feature can still be put back.
        """
        with self._lock:
            feature = next((each for each in self.removed_features() if each.id == feature_id), None)
            if feature is None:
                raise PomError(f"{self.path} has no feature {feature_id!r} to put back: it may be back already.")
            self._check_latest()
            # The masks first: killed after that, the feature is not back, but finds them where they are to be.
            self._masks.put_back(feature_id)
            made_before = sum(_number(other) < _number(feature) for other in self.features)
            self._save([*self.features[:made_before], feature, *self.features[made_before:]])
            with contextlib.suppress(OSError):  # what stays behind does no harm: the feature is there
                (self.path / REMOVED / f"{feature_id}.json").unlink()
            return feature

    def annotation(self) -> Annotation:
        """All of it as the rest of Pom takes it; each mask is read when it is asked for."""
        n_slices, height, width = self.shape
        features = tuple(
            Feature(feature.title, feature.box_size, feature.boxes, DrawnSlices(self._masks, feature), feature.colour)
            for feature in self.features
        )
        tomogram = str(self.path.with_suffix(".mrc").absolute())
        return Annotation(tomogram, n_slices, height, width, self.pixel_size, features)

    def _check_slice(self, z: int) -> None:
        if not 0 <= z < self.shape[0]:
            raise PomError(f"There is no slice {z} in {self.path}: it has {self.shape[0]}, counted from 0.")

    def _check_latest(self) -> None:
        """Refuses to write where the document is not as this store last read or wrote it."""
        _, content = read_document(self.path)
        if content != self._content:
            raise PomError(
                f"{self.path} was changed by somebody else since revision {self.revision}, so that nothing was written:"
                " open it again and repeat the last change."
            )

    def _change(self, feature: StoredFeature) -> None:
        if feature != self.feature(feature.id):
            self._save(self._with(feature.checked()))

    def _with(self, changed: StoredFeature) -> tuple[StoredFeature, ...]:
        return tuple(changed if feature.id == changed.id else feature for feature in self.features)

    def _save(self, features: Sequence[StoredFeature]) -> None:
        self._check_latest()
        document = self._document.changed(features)
        content = document.encoded()
        path = self.path / DOCUMENT
        before = path.stat().st_mtime_ns
        write_bytes(path, content)
        if path.stat().st_mtime_ns <= before:
            # Taken from an .scns of a machine whose clock is ahead: what is written after it must be the newer one.
            os.utime(path, ns=(before + 1, before + 1))
        self._document, self._content = document, content


def _number(feature: StoredFeature) -> int:
    return int(feature.id.removeprefix("f"))


def write_annotation(folder: Path, annotation: Annotation, *, revision: int = 0) -> None:
    """Writes an annotation of another form into ``folder``, which is empty, as a native one; 0 stays 0, the rest is 1.

    Raises:
        PomError: it cannot be written.
    """
    shape = (annotation.n_slices, annotation.height, annotation.width)
    masks = Masks(folder, shape)
    features = []
    for index, feature in enumerate(annotation.features):
        drawn = tuple(sorted(z for z in feature.slices if 0 <= z < shape[0]))
        if len(drawn) < len(feature.slices):
            were = counted(len(feature.slices) - len(drawn), "drawn slice lies", "drawn slices lie")
            log.warning("%r: %s outside the tomogram and cannot be taken over.", feature.title, were)
        boxes = {z: list(centres) for z, centres in feature.boxes.items() if centres}
        colour = feature.colour or default_colour(index)
        features.append(StoredFeature(f"f{index + 1}", feature.title, colour, feature.box_size, boxes, drawn))
        for z in drawn:
            masks.write(f"f{index + 1}", z, (feature.slices[z] != 0).astype(np.uint8))
    document = Document(shape, annotation.pixel_size, revision, now(), tuple(features))
    write_bytes(folder / DOCUMENT, document.encoded())
