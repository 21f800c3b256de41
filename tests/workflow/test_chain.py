"""The whole way once, from annotations to segmented tomograms, with too few epochs to learn much."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest

from pom.errors import PomError
from pom.io.checkpoints import WEIGHTS_FILE, load_network, save_network
from pom.io.scns import read_scns, write_scns
from pom.networks.devices import Devices
from pom.project.paths import Project
from pom.sampling.joint_labels import THRESHOLDS
from pom.sampling.patches import JointPatchSet
from pom.workflow.process_tomograms import Redo
from pom.workflow.segmentation import Segmentation
from pom.workflow.shared_initialize import shared_initialize
from pom.workflow.shared_process import shared_process
from pom.workflow.shared_train import shared_train
from pom.workflow.single_initialize import single_initialize
from pom.workflow.single_process import single_process
from pom.workflow.single_train import single_train

MakeProject = Callable[..., Project]
CPU = Devices()
PNG = b"\x89PNG\r\n\x1a\n"
OUTPUTS = ("Disc", "_", "Square", "Unknown")


def assert_complete(folder: Path, epochs: int, judged: set[str]) -> None:
    """What a person finds in a network's folder after training."""
    files = {"weights.safetensors", "card.json", "history.csv", "curves.png", "montage.png", "reliability.png"}
    _, card = load_network(folder, "pom train")
    if card.kind == "joint":
        files.add("familiarity.safetensors")
    assert {path.name for path in folder.iterdir()} == files
    with (folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(1, epochs + 1))
    assert all(np.isfinite(float(row["loss"])) for row in rows)
    for picture in ("curves.png", "montage.png", "reliability.png"):
        data = (folder / picture).read_bytes()
        assert data.startswith(PNG)
        assert len(data) > 5000
    assert card.validation.keys() == judged
    assert card.preprocessing.channels == ("Density", "_", "Membrane")
    assert card.training.held_out == "tomograms"
    assert card.calibration is not None
    assert card.calibration.n_tomograms == len(card.training.validation_tomograms)
    assert card.calibration.n_orientations == 4
    assert 0.1 <= card.temperature == card.calibration.temperature <= 10.0
    assert set(card.training.tomograms) | set(card.training.validation_tomograms) == {"TS_1", "TS_2", "TS_3"}
    assert not set(card.training.tomograms) & set(card.training.validation_tomograms)


def test_from_annotations_to_segmentations(make_project: MakeProject) -> None:
    project = make_project(ontologies=OUTPUTS[:-1], macromolecules=("Density", "_", "Membrane"))
    single_initialize(project)

    cards = single_train(project, project.ontologies, CPU, counterexamples=True)
    assert list(cards) == ["Disc", "Square"]
    for ontology, card in cards.items():
        assert_complete(project.single_network(ontology), epochs=2, judged={ontology})
        assert (card.kind, card.outputs) == ("single", (ontology,))
        # Eight patches of its own, and the four of the other that show something.
        assert (card.training.patches, card.training.counterexamples) == (8 + 4, 4)
    assert single_process(project, "Disc", CPU, test=False).done == ["TS_1", "TS_2", "TS_3"]

    summary = shared_initialize(project, selective=True, devices=CPU)
    assert (summary.patches, summary.validation_patches) == (8, 4)
    assert list(summary.share_of_pixels) == ["Disc", "Square", "Unknown"]
    assert sum(summary.share_of_pixels.values()) == pytest.approx(1.0)
    assert summary.unknown_threshold_from == "the validation patches"
    assert summary.unknown_threshold in THRESHOLDS
    joint = JointPatchSet.load(project.joint_dataset, "pom shared initialize")
    assert tuple(joint.outputs.tolist()) == OUTPUTS
    own = np.where(joint.ontologies == "Disc", 0, 2)[:, None, None]
    assert (joint.labels == own)[joint.drawn & joint.boxed].all()
    assert not (joint.labels == own)[joint.boxed & ~joint.drawn].any()
    assert not (joint.labels == 1).any()
    assert shared_initialize(project, selective=False, devices=CPU).patches == 16

    card = shared_train(project, CPU, None)
    assert_complete(project.joint_network, epochs=3, judged={"Disc", "Square"})
    assert (card.kind, card.outputs, card.training.labels) == ("joint", OUTPUTS, "single networks")
    assert card.training.unknown_threshold == joint.unknown_threshold == summary.unknown_threshold

    report = shared_process(project, CPU, redo=Redo.everything())
    assert (report.done, report.failed) == (["TS_1", "TS_2", "TS_3"], {})
    for name in report.done:
        volumes = []
        for output in ("Disc", "Square", "Unknown"):
            with mrcfile.open(project.output(name, output)) as mrc:
                assert mrc.data.shape == (6, 32, 36)
                volumes.append(np.array(mrc.data, int))
        assert np.sum(volumes, axis=0).max() <= 127 + 2
    assert len(list(project.output_dir.glob("*.mrc"))) == 9
    scores = [record.unlike for record in Segmentation.joint(project).ledger.records()]
    assert len(scores) == 3
    assert all(score is not None and score > 0 for score in scores)


def test_straight_from_annotations_to_the_joint_network(make_project: MakeProject) -> None:
    project = make_project(ontologies=OUTPUTS[:-1], macromolecules=("Density", "_", "Membrane"))
    with pytest.raises(PomError, match="There are no training patches yet; run 'pom single initialize' first"):
        shared_train(project, CPU, None, direct=True)
    single_initialize(project)
    card = shared_train(project, CPU, None, direct=True)
    assert_complete(project.joint_network, epochs=3, judged={"Disc", "Square"})
    assert (card.kind, card.outputs, card.training.labels) == ("joint", OUTPUTS, "annotations")
    assert (card.training.patches, card.training.validation_patches) == (16, 8)
    assert not project.joint_dataset.exists()
    assert shared_process(project, CPU).done == ["TS_1", "TS_2", "TS_3"]


def test_a_threshold_in_the_configuration_holds(make_project: MakeProject, random_network: Callable[..., Any]) -> None:
    chosen = []
    for folder, settings in (("a", {"shared_model_unknown_class_threshold": 0.33}), ("b", {"validation_share": 0.0})):
        project = make_project(make_project().folder / folder, **settings)
        single_initialize(project)
        for ontology in project.ontologies:
            save_network(project.single_network(ontology), *random_network("single", (ontology,)))
        summary = shared_initialize(project, selective=True, devices=CPU)
        chosen.append((summary.unknown_threshold, summary.unknown_threshold_from))
        assert JointPatchSet.load(project.joint_dataset, "").unknown_threshold == 0.33
    assert chosen == [(0.33, "the configuration"), (0.33, "nothing held out")]


def test_without_validation_nothing_is_calibrated(make_project: MakeProject) -> None:
    project = make_project(validation_share=0.0, shared_model_epochs=1)
    single_initialize(project)
    card = shared_train(project, CPU, None, direct=True)
    assert (card.calibration, card.temperature) == (None, 1.0)
    assert not (project.joint_network / "reliability.png").exists()
    assert (project.joint_network / "familiarity.safetensors").exists()


def test_each_step_names_the_one_before(make_project: MakeProject) -> None:
    project = make_project()
    with pytest.raises(PomError, match="There are no training patches yet; run 'pom single initialize' first"):
        single_train(project, ["Disc"], CPU, counterexamples=True)
    with pytest.raises(PomError, match="There are no training patches yet; run 'pom single initialize' first"):
        shared_initialize(project, selective=True, devices=CPU)
    with pytest.raises(PomError, match=r"joint\.npz is not there; run 'pom shared initialize' first"):
        shared_train(project, CPU, None)
    single_initialize(project)
    with pytest.raises(PomError, match=r"There is no trained network in .*; run 'pom single train -o .Disc.' first"):
        shared_initialize(project, selective=True, devices=CPU)


def test_an_ontology_without_a_box_cannot_be_trained(make_project: MakeProject) -> None:
    project = make_project(ontologies=("Disc", "Void"))
    single_initialize(project)
    with pytest.raises(PomError, match="Void: no box is annotated, so there is nothing to train on; place some"):
        single_train(project, ["Void"], CPU, counterexamples=True)


def test_single_networks_of_other_settings_do_not_label(
    make_project: MakeProject, random_network: Callable[..., object]
) -> None:
    """The networks were trained with z_sum 1; the patches were sampled again with 2."""
    project = make_project(z_sum=2)
    single_initialize(project)
    for ontology in project.ontologies:
        save_network(project.single_network(ontology), *random_network("single", (ontology,)))  # type: ignore[misc]
    with pytest.raises(PomError, match="The network of Disc was trained with other channels, z_sum or binning"):
        shared_initialize(project, selective=True, devices=CPU)


def test_a_checkpoint_must_fit(make_project: MakeProject, random_network: Callable[..., object]) -> None:
    project = make_project()
    single_initialize(project)
    for ontology in project.ontologies:
        save_network(project.single_network(ontology), *random_network("single", (ontology,)))  # type: ignore[misc]
    shared_initialize(project, selective=True, devices=CPU)
    folder = project.single_network("Disc")
    for checkpoint in (folder, folder / WEIGHTS_FILE):
        with pytest.raises(PomError, match="are of another network than this project's: channels, ontologies or"):
            shared_train(project, CPU, checkpoint)
    with pytest.raises(PomError, match=r"nowhere cannot be read \(No such file or directory\); give the weights of a"):
        shared_train(project, CPU, project.folder / "nowhere")
    with pytest.raises(PomError, match=r"card\.json is not a safetensors file of network weights"):
        shared_train(project, CPU, folder / "card.json")
    assert not project.joint_network.exists()


def test_no_patch_with_a_drawn_pixel(make_project: MakeProject) -> None:
    project = make_project(tomograms=["TS_1"])
    annotation = read_scns(project.annotation("TS_1"))
    features = tuple(replace(feature, slices={}) for feature in annotation.features)
    write_scns(project.annotation("TS_1"), replace(annotation, features=features))
    single_initialize(project)
    with pytest.raises(PomError, match="No patch has an annotated pixel; annotate some, or use -selective 0"):
        shared_initialize(project, selective=True, devices=CPU)


def test_the_card_says_where_a_network_comes_from(make_project: MakeProject) -> None:
    """Without counterexamples, on one tomogram, and as plain JSON."""
    project = make_project(tomograms=["TS_1"], single_model_epochs=1, seed=5)
    single_initialize(project)
    single_train(project, ["Square"], CPU, counterexamples=False)
    card = json.loads((project.single_network("Square") / "card.json").read_text())
    assert not project.single_network("Disc").exists()
    assert card["preprocessing"] == {"channels": ["Density", "Membrane"], "z_sum": 1, "binning": [2, 2, 2]}
    assert card["pixel_size"] == pytest.approx(15.68)
    training = card["training"]
    assert training["tomograms"] == training["validation_tomograms"] == ["TS_1"]
    assert (training["patches"], training["validation_patches"], training["counterexamples"]) == (3, 1, 0)
    assert (training["held_out"], training["epochs"], training["seed"]) == ("boxes", 1, 5)
    assert {"pom", "torch", "lightning", "python"} <= card["versions"].keys()
    assert len(card["weights_sha256"]) == 64
