"""What the pages of one server share."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Generic, TypeVar

from pom.app.browse.kinds import Kind, kinds_of
from pom.app.browse.thumbnails import Thumbnails
from pom.errors import PomError
from pom.io.feature_library import FeatureLibrary
from pom.io.palette import default_colour
from pom.project.listing import list_folders, list_tomograms
from pom.project.names import SEPARATOR, name_fault
from pom.project.paths import Project
from pom.workflow.atlas import Atlas
from pom.workflow.feature_library import load_library

if TYPE_CHECKING:
    from pom.workflow.status import StatusSurvey, StepStatus

log = logging.getLogger(__name__)

Value = TypeVar("Value")

SECONDS_KEPT = 5.0
"""For which a list of tomograms, or the state of the work, is good."""


class Browsing:
    """A dataset to look at. Every method may be called by any thread.

    Args:
        current: gives the project as it is now; its folder stays the same.
    """

    def __init__(self, current: Callable[[], Project]) -> None:
        self._current = current
        self._atlas = Atlas(current())
        self.thumbnails = Thumbnails(current().browse_cache / "thumbnails")
        self._survey: tuple[Project, StatusSurvey] | None = None
        self._names = _ForAWhile(self._look_for_names)
        self._segmented = _ForAWhile(self._look_for_segmented)
        self._steps = _ForAWhile(self._look_at_steps)

    @property
    def project(self) -> Project:
        """The project as it is now."""
        return self._current()

    @property
    def atlas(self) -> Atlas:
        """The summary, under the configuration as it is now."""
        project, atlas = self.project, self._atlas
        if atlas.project != project:
            atlas = self._atlas = Atlas(project)
        return atlas

    def now(self) -> "Browsing":
        """The same, whose summary and configuration stay as they are at this moment: for one page.

        Raises:
            PomError: the summary's file is damaged.
        """
        held, atlas = copy(self), self.atlas.now()
        held._atlas, held._current = atlas, lambda: atlas.project
        return held

    def read(self) -> None:
        """Reads the summary, and works out what follows from it; what is wrong with it is for the pages to say."""
        with contextlib.suppress(PomError):
            self.atlas.unusual()

    def names(self) -> Sequence[str]:
        """The tomograms that lie in the folder now, sorted; none where it cannot be read."""
        return self._names.value()

    def _look_for_names(self) -> Sequence[str]:
        try:
            return self.project.tomogram_names()
        except PomError as error:
            log.debug("%s", error)
            return ()

    def absent(self) -> frozenset[str]:
        """The tomograms of the summary that are not in the folder of tomograms; none where that is empty.

        Then only the result was brought here, which is nothing to point at.
        """
        here = self.names()
        return frozenset(self.atlas.table().index).difference(here) if here else frozenset()

    def knows(self, name: str) -> bool:
        """Whether a tomogram is in the folder or in the summary, under a name that may stand in a path."""
        return name_fault(name) is None and (name in self.atlas.table().index or name in self.names())

    def known(self) -> frozenset[str]:
        """All tomograms that ``knows`` would say yes to."""
        return frozenset(name for name in {*self.atlas.table().index, *self.names()} if name_fault(name) is None)

    def segmented(self) -> str:
        """The first tomogram of which there is a segmentation; empty where there is none."""
        return self._segmented.value()

    def _look_for_segmented(self) -> str:
        from pom.workflow.feature_volumes import feature_file, known_features

        project = self.project
        features = known_features(project)
        try:
            # To ask for each feature of each tomogram would take minutes on a network disk; a list comes at once.
            folders = dict.fromkeys((project.output_dir, project.macromolecule_dir))
            stems = [stem for folder in folders for stem in list_tomograms(folder).segmentations]
            stores = list_folders(project.output_dir)
        except PomError as error:
            log.debug("%s", error)
            return ""
        begun = {stem.partition(SEPARATOR)[0] for stem in stems}
        some = (name for name in self.names() if name in begun or project.ome_zarr(name).name in stores)
        return next((name for name in some if any(feature_file(project, name, each) for each in features)), "")

    def kinds(self) -> Mapping[str, Kind]:
        """The kinds of pictures that there are, by their id."""
        from pom.workflow.render import project_compositions

        compositions: list[str] = []
        with contextlib.suppress(PomError):  # the page of the settings says it
            compositions = [each.name for each in project_compositions(self.project)]
        return kinds_of(self.project, compositions)

    def library(self) -> FeatureLibrary:
        """How the features look: as in the pictures of 'pom render', with a preset for each that the project knows."""
        from pom.workflow.feature_library import complete_library

        library = FeatureLibrary()
        try:
            library = load_library(self.project)
        except PomError as error:  # a damaged library must not take the pages with it
            log.debug("%s", error)
        return complete_library(self.project, library)

    def colours(self) -> Mapping[str, str]:
        """The colour, ``#rrggbb``, of each feature of the summary: that of the library, or one of its own."""
        library = self.library()
        colours = {}
        for index, feature in enumerate(self.atlas.features()):
            preset = library.get(feature)
            colours[feature] = preset.hex_colour if preset else default_colour(index)
        return colours

    def parts(self) -> tuple[str, ...]:
        """The features that share a tomogram's volume among them: the ontologies and Unknown."""
        macromolecules = self.project.configuration.macromolecules
        return tuple(each for each in self.atlas.features() if each not in macromolecules)

    def steps(self) -> "Sequence[StepStatus]":
        """How far the processing is, step by step.

        Raises:
            PomError: a folder of the project cannot be read.
        """
        return self._steps.value()

    def _look_at_steps(self) -> "Sequence[StepStatus]":
        from pom.workflow.status import StatusSurvey

        project = self.project
        if self._survey is None or self._survey[0] != project:
            self._survey = project, StatusSurvey(project)
        return self._survey[1].look()


class _ForAWhile(Generic[Value]):
    """What takes a moment to look up and is good for a while; others wait for the thread that looks it up."""

    def __init__(self, look: Callable[[], Value]) -> None:
        self._look = look
        self._lock = threading.Lock()
        self._held: tuple[float, Value] | None = None

    def value(self) -> Value:
        with self._lock:
            if self._held is None or time.monotonic() - self._held[0] >= SECONDS_KEPT:
                value = self._look()
                self._held = time.monotonic(), value
            return self._held[1]
