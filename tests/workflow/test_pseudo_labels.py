"""What a network says of places that nobody annotated. The network is random."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pom.errors import PomError
from pom.io.channels import read_network_input
from pom.io.checkpoints import load_network, save_network
from pom.networks.devices import Devices
from pom.project.paths import Project
from pom.training.data import LabelledPatches
from pom.workflow.pseudo_labels import MARGIN, WEIGHT, pseudo_patches
from pom.workflow.single_initialize import preprocessing_of

SIDE = 64
OUTPUTS = ("Disc", "Square", "Unknown")
Make = Callable[..., LabelledPatches]


@pytest.fixture
def project(make_project: Callable[..., Project], random_network: Callable[..., Any]) -> Project:
    made = make_project(precision="float32")
    save_network(made.joint_teacher, *random_network("joint", OUTPUTS))
    return made


def make(project: Project, n: int = 12, without: tuple[str, ...] = ()) -> LabelledPatches:
    return pseudo_patches(project, project.joint_teacher, without, n, SIDE, Devices())


def test_places_are_labelled_as_the_network_sees_them(project: Project) -> None:
    patches = make(project)
    assert patches.images.shape == (12, 2, SIDE, SIDE)
    assert patches.target.shape == patches.valid.shape == (12, SIDE, SIDE)
    assert 0 <= patches.target.min() <= patches.target.max() < len(OUTPUTS)
    # As sure as the network is, which of three classes is at least a third; nothing at the patch's edge.
    inner = patches.valid[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    assert ((inner == 0) | ((inner >= WEIGHT / 3 - 1e-6) & (inner <= WEIGHT))).all()
    assert (inner > 0).any(dim=2).any(dim=1).all()
    assert patches.valid.count_nonzero() == inner.count_nonzero()
    assert not patches.known.any()
    assert not patches.drawn.any()
    assert len({tuple(image.flatten().tolist()) for image in patches.images}) == 12


def test_the_same_seed_chooses_the_same_places(project: Project) -> None:
    first, again = make(project), make(project)
    for name in first.__dataclass_fields__:
        assert torch.equal(getattr(first, name), getattr(again, name))
    other = project.configuration.model_copy(update={"seed": 5})
    assert not torch.equal(make(Project(project.folder, other)).images, first.images)


def density_of(project: Project, name: str) -> set[float]:
    """The values of a tomogram's density as the network sees it."""
    _, card = load_network(project.joint_teacher, "pom")
    files = project.input_files(name, channels=card.preprocessing.channels)
    assert preprocessing_of(project) == card.preprocessing
    return set(np.unique(read_network_input(files, card.preprocessing, project.configuration.apix).data[0]))


def test_tomograms_that_validate_are_left_alone(project: Project) -> None:
    patches = make(project, without=("TS_1", "TS_3"))
    assert len(patches) == 12
    assert set(np.unique(patches.images[:, 0].numpy())) <= density_of(project, "TS_2")


def test_a_tomogram_that_cannot_be_read_is_passed_over(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("TS_1", "TS_2"):
        project.tomogram(name).write_bytes(b"no volume")
    with caplog.at_level(logging.WARNING):
        assert len(make(project)) == 4
    assert sum("is not learnt from" in message for message in caplog.messages) == 2
    project.tomogram("TS_3").write_bytes(b"no volume")
    with pytest.raises(PomError, match=r"None of the tomograms in .* can be learnt from: see the warnings"):
        make(project)


def test_where_there_is_no_network(make_project: Callable[..., Project], tmp_path: Path) -> None:
    with pytest.raises(PomError, match="run 'pom shared train --direct' first"):
        pseudo_patches(make_project(), tmp_path / "nothing", (), 4, SIDE, Devices())
