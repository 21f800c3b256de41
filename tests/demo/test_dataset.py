"""The demo project: the files that a user's own project would have, and the truth."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pom.demo.dataset import DEMO_TOMOGRAMS, Plan, Role, truth_file, write_demo_project
from pom.demo.phantom import ONTOLOGIES, make_phantom
from pom.errors import PomError
from pom.io.mrc import MrcReader
from pom.io.scns import read_scns
from pom.project.paths import Project

PLANS = (
    Plan("TS_001", (24, 140, 151), Role.ANNOTATED),
    Plan("TS_002", (25, 130, 141), Role.SCORED),
    Plan("TS_003", (22, 128, 133), Role.TEST, without=("Nucleus",)),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "project"
    write_demo_project(folder, seed=3, plans=PLANS)
    return folder


def read(path: Path) -> NDArray[Any]:
    with MrcReader(path) as reader:
        return reader.read(0, reader.header.shape[0])


def test_the_files_are_complete(folder: Path) -> None:
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "project_configuration.json",
        "tomograms/TS_001.mrc",
        "tomograms/TS_001.scns",
        "tomograms/TS_002.mrc",
        "test/TS_003.mrc",
        "macromolecules/TS_001__Membrane.mrc",
        "macromolecules/TS_002__Membrane.mrc",
        "macromolecules/TS_003__Membrane.mrc",
        "truth/TS_002__labels.mrc",
        "truth/TS_003__labels.mrc",
    }


def test_the_project_opens(folder: Path) -> None:
    project = Project.open(folder)
    assert project.configuration.macromolecules == ("Density", "Membrane")
    assert project.ontologies == ONTOLOGIES
    assert project.tomogram_names() == ["TS_001", "TS_002"]
    assert project.annotated_names() == ["TS_001"]
    assert project.test_names() == ["TS_003"]


def test_headers(folder: Path) -> None:
    for path in folder.rglob("*.mrc"):
        with MrcReader(path) as reader:
            plan = next(plan for plan in PLANS if path.stem.startswith(plan.name))
            assert reader.header.shape == plan.shape
            assert reader.header.voxel_size == pytest.approx((15.68,) * 3, rel=1e-5)
            assert reader.header.dtype == (np.int8 if "__" in path.stem else np.float32)


def test_the_volumes_are_the_phantom(folder: Path) -> None:
    phantom = make_phantom([3, 2], PLANS[2].shape, PLANS[2].without)
    np.testing.assert_array_equal(read(folder / "test" / "TS_003.mrc"), phantom.density)
    np.testing.assert_array_equal(read(truth_file(folder, "TS_003")), phantom.labels)
    membrane = read(folder / "macromolecules" / "TS_003__Membrane.mrc")
    np.testing.assert_allclose(membrane / 127, phantom.membrane, atol=0.5 / 127 + 1e-6)


def test_the_annotation_is_the_truth_in_its_boxes(folder: Path) -> None:
    labels = make_phantom([3, 0], PLANS[0].shape).labels
    annotation = read_scns(folder / "tomograms" / "TS_001.scns")
    assert (annotation.n_slices, annotation.height, annotation.width) == PLANS[0].shape
    assert annotation.pixel_size == pytest.approx(1.568)
    assert {feature.title for feature in annotation.features} <= set(ONTOLOGIES)
    assert len(annotation.features) >= 3
    for feature in annotation.features:
        mask = labels == ONTOLOGIES.index(feature.title) + 1
        for z, centres in feature.boxes.items():
            drawn = feature.slices.get(z, np.zeros(labels.shape[1:], np.uint8))
            for x, y in centres:
                area = (slice(int(y) - 64, int(y) + 64), slice(int(x) - 64, int(x) + 64))
                np.testing.assert_array_equal(drawn[area], mask[z][area])


def test_the_same_seed_gives_the_same_files(folder: Path, tmp_path: Path) -> None:
    write_demo_project(tmp_path, seed=3, plans=PLANS[:1])
    for name in ("tomograms/TS_001.mrc", "macromolecules/TS_001__Membrane.mrc"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    here, there = (read_scns(root / "tomograms" / "TS_001.scns").features for root in (tmp_path, folder))
    assert [feature.boxes for feature in here] == [feature.boxes for feature in there]


def test_a_project_is_never_written_over(folder: Path) -> None:
    with pytest.raises(PomError, match="holds a project already"):
        write_demo_project(folder, plans=PLANS)


def test_the_demo_has_what_it_promises() -> None:
    roles = [plan.role for plan in DEMO_TOMOGRAMS]
    assert (roles.count(Role.ANNOTATED), roles.count(Role.SCORED), roles.count(Role.TEST)) == (4, 2, 1)
    assert len({plan.name for plan in DEMO_TOMOGRAMS}) == len({plan.shape for plan in DEMO_TOMOGRAMS}) == 7
    assert all(min(plan.shape[1:]) >= 250 for plan in DEMO_TOMOGRAMS)
