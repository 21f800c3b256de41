"""What lies between the margins of a segmentation, as 0..1."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray

from pom.project.configuration import Configuration
from pom.project.paths import Project
from pom.workflow.feature_volumes import feature_file, known_features, read_feature


@pytest.fixture
def project(tmp_path: Path) -> Project:
    configuration = Configuration(
        ontologies=("ER", "_"),
        macromolecules=("Density", "Ribosome", "_", "ER"),
        apix=10.0,
        binning=(1, 2, 2),
        z_margin_summary=0.3,
    )
    return Project(tmp_path, configuration)


def write(path: Path, volume: NDArray[np.generic]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with mrcfile.new(path, volume, overwrite=True) as file:
        file.voxel_size = 0.0


def test_features_are_listed_once(project: Project) -> None:
    assert known_features(project) == ("ER", "Unknown", "Ribosome")


def test_what_cannot_be_looked_at_is_left_to_its_reader_and_what_cannot_be_is_not_there(project: Project) -> None:
    path = project.output("a", "ER")
    path.parent.mkdir()
    path.symlink_to(path)
    assert feature_file(project, "a", "ER") == path
    assert feature_file(project, "b", "ER") is None
    assert feature_file(project, "x" * 251, "ER") is None  # of a tomogram that has a file, NAME.mrc


def test_a_mask_is_one_in_its_margins_too(project: Project) -> None:
    volume = np.zeros((20, 4, 4), np.uint16)
    volume[8:12, :2] = 1
    write(project.macromolecule("a", "Ribosome"), volume)
    assert read_feature(project, "a", "Ribosome").probability.max() == 1.0
    volume[0, 0, 0] = 200
    write(project.macromolecule("a", "Ribosome"), volume)
    assert read_feature(project, "a", "Ribosome").probability.max() == pytest.approx(1 / 255)


def test_outputs_are_no_masks_and_have_binned_voxels(project: Project) -> None:
    write(project.output("a", "ER"), np.ones((20, 4, 4), np.int8))
    found = read_feature(project, "a", "ER")
    assert found.probability.max() == pytest.approx(1 / 127)
    assert found.probability.shape == (8, 4, 4)
    assert (found.voxel_size, found.bottom) == ((10.0, 20.0, 20.0), 6.0)
