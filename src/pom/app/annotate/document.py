"""The annotation of one tomogram as the pages see it: looked at as it is on disk, made a store at the first change."""

import logging
import threading
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from pom.app.answers import NotFoundError
from pom.errors import PomError
from pom.io.annotation_document import DOCUMENT
from pom.io.annotation_store import AnnotationStore, StoredFeature
from pom.io.palette import default_colour, free_colour
from pom.io.scns import Annotation, Feature, read_scns
from pom.io.stamps import file_stamp, stamp_text
from pom.project.paths import Project
from pom.workflow.annotations import newer_annotation, open_for_editing

log = logging.getLogger(__name__)

Mask = NDArray[np.uint8]
Stamp = str


class Version(TypedDict):
    """An annotation as one change left it."""

    revision: int
    """Counts the changes; 0 before the first one since the right to edit was taken."""
    stamp: Stamp
    """Another one, once the annotation on disk is another one, whoever changed it."""


class Document:
    """The annotation of a tomogram, shared by all its pages of this server. Every method may be called by any thread.

    Nothing is written, not even an empty store, before the first change.
    """

    def __init__(self, project: Project, name: str) -> None:
        self._project = project
        self.name = name
        self.lock = threading.RLock()
        self._store: AnnotationStore | None = None
        self._view: AnnotationStore | Annotation | None = None
        self._stamp = ""

    # Looking

    def features(self) -> tuple[StoredFeature, ...]:
        """The features with their boxes and the slices that something is drawn in."""
        with self.lock:
            source = self._source()
            if source is None:
                return ()
            if isinstance(source, Annotation):
                return tuple(_as_stored(index, feature) for index, feature in enumerate(source.features))
            return tuple(source.features)

    def feature(self, feature_id: str) -> StoredFeature:
        """The feature of that id.

        Raises:
            UnknownFeature: there is none.
        """
        for feature in self.features():
            if feature.id == feature_id:
                return feature
        raise UnknownFeature(f"{self.name} has no feature {feature_id!r}: it may have been removed in another page.")

    def removed_features(self) -> tuple[StoredFeature, ...]:
        """The features that were removed and can be put back."""
        with self.lock:
            source = self._source()
            return source.removed_features() if isinstance(source, AnnotationStore) else ()

    def masks(self, z: int) -> dict[str, Mask]:
        """What is drawn in slice ``z``, uint8 (y, x) of 0 and 1 by feature id; only where something ever was."""
        with self.lock:
            source = self._source()
            if source is None:
                return {}
            if isinstance(source, Annotation):
                drawn = {_id(k): feature.slices.get(z) for k, feature in enumerate(source.features)}
                return {key: (mask != 0).astype(np.uint8) for key, mask in drawn.items() if mask is not None}
            return {feature.id: source.mask(feature.id, z) for feature in source.features if z in feature.drawn}

    @property
    def stamp(self) -> Stamp:
        """A short text that is another one once the annotation on disk is another one."""
        native, scns = self._project.native_annotation(self.name), self._project.annotation(self.name)
        return stamp_text(file_stamp(native / DOCUMENT), file_stamp(scns))

    def _source(self) -> AnnotationStore | Annotation | None:
        if self._store is not None:
            return self._store
        stamp = self.stamp
        if stamp != self._stamp:
            self._view = self._read()
            self._stamp = stamp
        return self._view

    def _read(self) -> AnnotationStore | Annotation | None:
        """The newer of the two forms; of the native one only what is asked for is read, of a file of Ais all."""
        path = newer_annotation(self._project, self.name)
        if path is None:
            return None
        return AnnotationStore.open(path) if path.is_dir() else read_scns(path)

    # Changing; the caller holds the lock and the right to edit

    def begin(self) -> None:
        """Forgets what was read before: somebody else may have changed it since."""
        with self.lock:
            self._store, self._stamp = None, ""

    def store(self) -> AnnotationStore:
        """The store, made or opened for the first change."""
        if self._store is None:
            before = self.features()
            self._store = open_for_editing(self._project, self.name)
            after = tuple(self._store.features)
            if [(feature.id, feature.title) for feature in before] != [(f.id, f.title) for f in after]:
                raise PomError(f"The annotation of {self.name} has just changed on disk: load the page again.")
        return self._store

    @property
    def revision(self) -> int:
        """Of the store; 0 while there is none."""
        return 0 if self._store is None else self._store.revision

    @property
    def version(self) -> Version:
        """As it is on disk now."""
        return {"revision": self.revision, "stamp": self.stamp}

    def next_colour(self) -> str:
        """A colour unlike those that the features have."""
        return free_colour(feature.colour for feature in self.features())


class UnknownFeature(NotFoundError):  # noqa: N818  (what happened, not a fault)
    """A feature that is not, or no longer, in the annotation."""


def counts(feature: StoredFeature) -> tuple[int, int]:
    """How many boxes a feature has, and in how many slices something of it is drawn."""
    return sum(len(centres) for centres in feature.boxes.values()), len(feature.drawn)


def annotated_slices(feature: StoredFeature) -> list[int]:
    """The slices with boxes or drawn pixels of a feature, ascending."""
    return sorted({*feature.drawn, *(z for z, centres in feature.boxes.items() if centres)})


def _id(index: int) -> str:
    return f"f{index + 1}"


def _as_stored(index: int, feature: Feature) -> StoredFeature:
    """A feature of a file of Ais as it will be in the store."""
    boxes = {z: [(float(x), float(y)) for x, y in centres] for z, centres in feature.boxes.items() if centres}
    colour = feature.colour or default_colour(index)
    return StoredFeature(_id(index), feature.title, colour, feature.box_size, boxes, tuple(sorted(feature.slices)))
