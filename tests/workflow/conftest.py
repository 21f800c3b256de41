"""What the tests of several steps begin with: a project whose networks nobody trained."""

from collections.abc import Callable
from typing import Any

import pytest

from pom.io.checkpoints import save_network
from pom.project.paths import Project


@pytest.fixture
def make_segmentable(
    make_project: Callable[..., Project], random_network: Callable[..., Any]
) -> Callable[..., Project]:
    """Makes a project with a joint network whose second place is empty, and a single network of Disc.

    ``make_segmentable(**settings)``, as ``make_project``.
    """

    def make(**settings: Any) -> Project:
        project = make_project(ontologies=("Disc", "_", "Square"), **settings)
        save_network(project.single_network("Disc"), *random_network("single", ("Disc",)))
        save_network(project.joint_network, *random_network("joint", ("Disc", "_", "Square", "Unknown")))
        return project

    return make
