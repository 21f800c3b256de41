"""The project as it is now: its configuration can change while the server runs."""

import threading

from pom.errors import PomError
from pom.io.stamps import FileStamp, file_stamp
from pom.project.paths import CONFIGURATION_FILE, Project
from pom.workflow.feature_library import add_ontology


class CurrentProject:
    """A project whose configuration this server changes, or anybody else. Every method may be called by any thread."""

    def __init__(self, project: Project) -> None:
        self.project = project
        """As it was read last; the same object for as long as nothing has changed."""
        self._lock = threading.Lock()
        self._stamp: FileStamp | None = None

    def read_again(self) -> Project:
        """The project with the configuration as it is on disk, which is read only where it has changed.

        Raises:
            PomError: it has a fault, or names another folder of tomograms; the project then stays as it was.
        """
        with self._lock:
            self._read()
            return self.project

    def add_ontology(self, title: str) -> None:
        """Adds an ontology to the configuration, unless somebody else has done so already.

        Raises:
            PomError: as ``pom.workflow.feature_library.add_ontology``.
        """
        with self._lock:
            self._read()
            if title not in self.project.ontologies:
                self.project = add_ontology(self.project, title)

    def _read(self) -> None:
        # Looked at before it is read: should it change in between, the next look finds another one.
        stamp = file_stamp(self.project.folder / CONFIGURATION_FILE)
        if stamp == self._stamp or not any(stamp):
            return
        project = Project.open(self.project.folder)
        if project.tomogram_dir != self.project.tomogram_dir:
            # Pages that are open draw on what is in the old one; a new one's slices must not be shown with that.
            raise PomError(f"tomogram_dir in {CONFIGURATION_FILE} has changed: end this server and start it again.")
        if project.configuration != self.project.configuration:
            self.project = project
        self._stamp = stamp
