"""A project folder as the published Pom leaves it: its configuration, annotations by Ais itself, mode 6 membranes."""

import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest

from pom.io.checkpoints import save_network
from pom.io.scns import read_scns
from pom.networks.devices import Devices
from pom.project.paths import Project
from pom.sampling.patches import JointPatchSet, PatchSet
from pom.volumes.binning import bin_mean
from pom.workflow.shared_initialize import shared_initialize
from pom.workflow.shared_process import shared_process
from pom.workflow.single_initialize import single_initialize

DATA = Path(__file__).parent.parent / "data" / "ais"
NAMES = ("new_00", "tomo_00")
OUTPUTS = ("Vesicle", "Granule", "Void", "Unknown")
SHAPE = (40, 192, 192)
CPU = Devices()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """The genuine configuration and annotations round tomograms of noise.

    The boxes of new_00 (Ais 1.2.40) have a side of 128 pixels, those of tomo_00 (Ais 1.0.47) of 64.
    """
    shutil.copy(DATA / "project_configuration.json", tmp_path)
    for folder in ("tomograms", "macromolecules"):
        (tmp_path / folder).mkdir()
    random = np.random.default_rng(0)
    for name in NAMES:
        shutil.copy(DATA / f"{name}.scns", tmp_path / "tomograms")
        density = random.normal(100, 20, SHAPE).astype(np.float32)
        membrane = random.integers(0, 256, SHAPE, np.uint8)
        for path, volume in ((f"tomograms/{name}.mrc", density), (f"macromolecules/{name}__Membrane.mrc", membrane)):
            with mrcfile.new(tmp_path / path) as mrc:
                mrc.set_data(volume)
                mrc.voxel_size = 15.68
    with mrcfile.open(tmp_path / "macromolecules" / "new_00__Membrane.mrc") as mrc:
        assert int(mrc.header.mode) == 6
    return Project.open(tmp_path)


def test_its_configuration_is_read_as_it_is(project: Project) -> None:
    assert project.ontologies == ("Vesicle", "Granule", "Void")
    assert project.configuration.macromolecules == ("Density", "Membrane")
    assert project.configuration.shared_model_unknown_output_threshold == 0.5
    assert project.annotated_names() == list(NAMES)


def test_every_box_becomes_a_patch(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        summary = single_initialize(project)
    assert caplog.messages == []
    assert (summary.failed, summary.unknown_titles) == ({}, [])
    expected = json.loads((DATA / "expected.json").read_text())
    for row in summary.rows:
        features = [expected[f"{name}.scns"]["features"][row.ontology] for name in NAMES]
        boxes = sum(len(centres) for feature in features for centres in feature["boxes"].values())
        assert (row.tomograms, row.boxes, row.dropped) == (2, boxes, {})
        patches = PatchSet.load(project.single_dataset(row.ontology), "pom single initialize")
        assert patches.images.shape == (boxes, 2, 160, 160)
        # All lie within the tomograms, at even and odd places; an odd one has a binned pixel less each way.
        for name, side in (("new_00", 64), ("tomo_00", 32)):
            boxed = patches.boxed[patches.tomograms == name].sum(axis=(1, 2))
            assert set(boxed.tolist()) <= {side * side, side * (side - 1), (side - 1) ** 2}
        assert sorted(set(patches.tomograms[patches.validation].tolist())) in (["new_00"], ["tomo_00"])


def test_what_was_drawn_in_the_boxes_is_in_the_patches(project: Project) -> None:
    """Counted once more from the annotation files, without patches."""
    summary = single_initialize(project)
    for row in summary.rows:
        drawn = []
        for name in NAMES:
            feature = next(f for f in read_scns(DATA / f"{name}.scns").features if f.title == row.ontology)
            for z, centres in sorted(feature.boxes.items()):
                binned = bin_mean((feature.slices[z] > 0).astype(np.uint8), (2, 2)) >= 0.5
                half = feature.box_size // 2
                for x, y in centres:
                    rows, columns = (slice(-(-(int(c) - half) // 2), (int(c) + half) // 2) for c in (y, x))
                    drawn.append(int(binned[rows, columns].sum()))
        patches = PatchSet.load(project.single_dataset(row.ontology), "pom single initialize")
        assert (patches.drawn & patches.boxed).sum(axis=(1, 2)).tolist() == drawn
        assert row.with_pixels == sum(n > 0 for n in drawn)
        assert row.without_pixels == sum(n == 0 for n in drawn)
        assert 0 < row.without_pixels < row.with_pixels


def test_the_other_steps_run_without_an_edit(project: Project, random_network: Callable[..., Any]) -> None:
    """All but the trainings, for which the tiny project serves; networks that nobody trained stand in."""
    with_pixels = sum(row.with_pixels for row in single_initialize(project).rows)
    for ontology in project.ontologies:
        save_network(project.single_network(ontology), *random_network("single", (ontology,), z_sum=4))
    summary = shared_initialize(project, selective=True, devices=CPU)
    assert summary.patches + summary.validation_patches == with_pixels
    assert min(summary.patches, summary.validation_patches) >= 30
    joint = JointPatchSet.load(project.joint_dataset, "pom shared initialize")
    assert joint.outputs.tolist() == list(OUTPUTS)
    own = np.array([OUTPUTS.index(ontology) for ontology in joint.ontologies.tolist()])[:, None, None]
    np.testing.assert_array_equal((joint.labels == own)[joint.boxed], joint.drawn[joint.boxed])
    save_network(project.joint_network, *random_network("joint", OUTPUTS, z_sum=4))
    assert shared_process(project, CPU).done == list(NAMES)
    for name in NAMES:
        for output in OUTPUTS:
            with mrcfile.open(project.output(name, output)) as mrc:
                assert mrc.data.shape == (20, 96, 96)
