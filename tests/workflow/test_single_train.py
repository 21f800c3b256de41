"""Training several single networks in one command."""

from collections.abc import Callable

import pytest

from pom.io.checkpoints import CARD_FILE, WEIGHTS_FILE
from pom.networks.devices import Devices
from pom.project.paths import Project
from pom.workflow.single_initialize import single_initialize
from pom.workflow.single_train import single_train


def test_what_an_interrupted_command_finished_is_not_trained_again(
    make_project: Callable[..., Project], caplog: pytest.LogCaptureFixture
) -> None:
    project = make_project(single_model_epochs=1)
    single_initialize(project)
    first = single_train(project, project.ontologies, Devices(), counterexamples=True)
    disc, square = (project.single_network(name) for name in ("Disc", "Square"))
    written = (disc / WEIGHTS_FILE).stat().st_mtime_ns
    (square / CARD_FILE).unlink()
    with caplog.at_level("INFO"):
        again = single_train(project, project.ontologies, Devices(), counterexamples=True)
    assert "Disc: trained already on these patches with these settings." in caplog.messages
    assert (disc / WEIGHTS_FILE).stat().st_mtime_ns == written
    assert again["Square"].weights_sha256 == first["Square"].weights_sha256
    # Other settings, or naming it alone, train it anew.
    single_train(project, ["Disc"], Devices(), counterexamples=True)
    assert (disc / WEIGHTS_FILE).stat().st_mtime_ns > written
    changed = single_train(project, project.ontologies, Devices(), counterexamples=False)
    assert changed["Disc"].training.counterexamples == 0
