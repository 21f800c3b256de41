import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mrcfile
import numpy as np
import pytest

from pom.errors import PomError
from pom.io.checkpoints import CARD_FILE
from pom.io.scns import Annotation, Feature, write_scns
from pom.project.configuration import Configuration
from pom.project.paths import Project
from pom.workflow import survey
from pom.workflow.freshness import Outdated
from pom.workflow.overview import Overview, overview

ONTOLOGIES = ("Vesicle", "Inner membrane")
OUTPUTS = (*ONTOLOGIES, "Unknown")
HOUR = 3600.0
Figures = Mapping[str, Mapping[str, float]]


def make(folder: Path, tomograms: int = 2, **settings: Any) -> Project:
    (folder / "tomograms").mkdir(parents=True, exist_ok=True)
    for number in range(tomograms):
        (folder / "tomograms" / f"TS_{number}.mrc").touch()
    return Project(folder, Configuration(**{"ontologies": ONTOLOGIES, **settings}))


def annotate(project: Project, name: str, boxes: Mapping[str, int], drawn: tuple[str, ...] = ()) -> None:
    """Writes an annotation with so many boxes per title, half of them in slice 0 and half in slice 1."""
    features = tuple(
        Feature(
            title=title,
            box_size=64,
            boxes={z: [(8, 8)] * n for z, n in ((0, count // 2), (1, count - count // 2)) if n},
            slices={0: np.ones((16, 16), np.uint8)} if title in drawn else {},
        )
        for title, count in boxes.items()
    )
    write_scns(project.annotation(name), Annotation(str(project.tomogram(name)), 4, 16, 16, 1.568, features))


def touch(*paths: Path, seconds_from_now: float = 0.0) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        moment = time.time() + seconds_from_now
        os.utime(path, (moment, moment))


def sample(project: Project, *ontologies: str) -> None:
    touch(*(project.single_dataset(ontology) for ontology in ontologies or ONTOLOGIES), seconds_from_now=60)


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> dict[Path, Figures | Exception]:
    """Networks by their folder, in place of files: their validation figures, or the error of reading them."""
    known: dict[Path, Figures | Exception] = {}

    def read_card(folder: Path) -> SimpleNamespace | None:
        found = known.get(folder)
        if isinstance(found, Exception):
            raise found
        if found is None:
            return None
        labels = "annotations" if (folder / "direct").exists() else "single networks"
        training = SimpleNamespace(labels=labels, tomograms=("TS_0",))
        return SimpleNamespace(validation=found, outputs=known_outputs(folder), training=training)

    def known_outputs(folder: Path) -> tuple[str, ...]:
        file = folder / "outputs.json"
        return tuple(json.loads(file.read_text())) if file.exists() else OUTPUTS

    monkeypatch.setattr(survey, "read_card", read_card)
    return known


def train(
    cards: dict[Path, Figures | Exception], folder: Path, figures: Figures | Exception, direct: bool = False
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    cards[folder] = figures
    if direct:
        touch(folder / "direct")


def write_placeholder(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    mrcfile.write(path, np.full((10, 10, 10), -1, np.float32), overwrite=True)


def test_the_way_through_a_project_one_command_after_the_other(
    tmp_path: Path, cards: dict[Path, Figures | Exception]
) -> None:
    def following(project: Project) -> str:
        return overview(project).next_command

    project = make(tmp_path, tomograms=0, ontologies=())
    assert following(project) == f"put tomograms (NAME.mrc) into {tmp_path / 'tomograms'}"
    project = make(tmp_path, ontologies=("_",))
    assert following(project) == (
        f"list the names of what to segment under 'ontologies' in {tmp_path / 'project_configuration.json'}"
    )
    project = make(tmp_path)
    assert following(project) == (
        "annotate Vesicle, Inner membrane: draw and place boxes with pom annotate, or in Ais and save NAME.scns beside"
        f" NAME.mrc in {tmp_path / 'tomograms'}"
    )
    annotate(project, "TS_0", {"Vesicle": 3, "Inner membrane": 1})
    assert following(project) == "pom single initialize"
    sample(project, "Vesicle")
    assert following(project) == "pom single initialize"
    sample(project)
    assert following(project) == "pom shared train --direct"
    train(cards, project.joint_network, {"Vesicle": {"dice": 0.9}}, direct=True)
    assert following(project) == "pom shared process"
    for name in ("TS_0", "TS_1"):
        touch(*(project.output(name, ontology) for ontology in (*ONTOLOGIES, "Unknown")))
    assert following(project) == "pom summarize"


def test_who_has_begun_the_published_way_goes_on_with_it(
    tmp_path: Path, cards: dict[Path, Figures | Exception]
) -> None:
    def following(project: Project) -> str:
        return overview(project).next_command

    project = make(tmp_path)
    annotate(project, "TS_0", {"Vesicle": 3, "Inner membrane": 1})
    sample(project)
    train(cards, project.single_network("Vesicle"), {"Vesicle": {"dice": 0.8}})
    assert following(project) == "pom single train -o 'Inner membrane'"
    train(cards, project.single_network("Inner membrane"), {})
    assert following(project) == "pom shared initialize"
    touch(project.joint_dataset)
    assert following(project) == "pom shared train"
    train(cards, project.joint_network, {"Vesicle": {"dice": 0.9}})
    assert following(project) == "pom shared process"
    for name in ("TS_0", "TS_1"):
        touch(*(project.output(name, ontology) for ontology in (*ONTOLOGIES, "Unknown")))
    assert following(project) == "pom summarize"


def test_the_way_from_segmentations_to_the_atlas(finished: Project) -> None:
    assert overview(finished).next_command == "pom summarize"
    touch(finished.summary)
    assert overview(finished).next_command == "pom projections"
    touch(finished.density_picture("TS_0"), finished.projection("TS_0", "Vesicle"))
    assert overview(finished).next_command == "pom render"
    touch(finished.picture("TS_0", "Top3"))
    assert overview(finished).next_command == "pom browse"
    touch(finished.summary, seconds_from_now=-2 * HOUR)
    assert overview(finished).next_command == "pom summarize"


def test_annotation_that_was_held_out_judges_the_outputs_first(finished: Project) -> None:
    annotate(finished, "TS_1", {"Strange": 2}, drawn=("Vesicle",))
    touch(finished.annotation("TS_1"), seconds_from_now=-6 * HOUR)
    assert overview(finished).next_command == "pom summarize"  # no box of an ontology
    annotate(finished, "TS_1", {"Vesicle": 1})
    touch(finished.annotation("TS_1"), seconds_from_now=-6 * HOUR)
    assert overview(finished).next_command == "pom evaluate"
    touch(finished.evaluation / "evaluation.json")
    assert overview(finished).next_command == "pom summarize"
    touch(finished.evaluation / "evaluation.json", seconds_from_now=-3 * HOUR)  # of an older network
    assert overview(finished).next_command == "pom evaluate"
    touch(finished.summary)
    assert overview(finished).next_command == "pom projections"  # who goes on without is not asked again


def test_the_way_straight_from_the_annotations(tmp_path: Path, cards: dict[Path, Figures | Exception]) -> None:
    project = make(tmp_path)
    annotate(project, "TS_0", {"Vesicle": 3, "Inner membrane": 1})
    touch(project.annotation("TS_0"), seconds_from_now=-6 * HOUR)
    for ontology in ONTOLOGIES:
        touch(project.single_dataset(ontology), seconds_from_now=-5 * HOUR)
    assert told(overview(project)) == ("pom shared train --direct", ())
    train(cards, project.joint_network, {"Vesicle": {"dice": 0.9}})
    touch(project.joint_network / "direct", project.joint_network / CARD_FILE, seconds_from_now=-4 * HOUR)
    assert told(overview(project)) == ("pom shared process", ())
    touch(project.single_dataset("Vesicle"), seconds_from_now=-3 * HOUR)
    note = "What the joint network learnt from has been made again since it was trained."
    assert told(overview(project)) == ("pom shared train --direct", (note,))
    touch(project.annotation("TS_0"))
    assert overview(project).next_command == "pom single initialize"


def test_what_is_counted(tmp_path: Path, cards: dict[Path, Figures | Exception]) -> None:
    project = make(tmp_path, tomograms=3, ontologies=("Vesicle", "_", "Inner membrane"))
    touch(project.test_tomogram("T"), project.test_output("T", "Vesicle"))
    annotate(project, "TS_0", {"Vesicle": 3, "Inner membrane": 1})
    annotate(project, "TS_2", {"Vesicle": 2})
    sample(project, "Vesicle")
    train(cards, project.single_network("Vesicle"), {"Vesicle": {"dice": 0.75, "precision": 0.7, "recall": 0.8}})
    train(cards, project.joint_network, {"Vesicle": {"dice": 0.8}, "Inner membrane": {"dice": 0.6}})
    (project.joint_network / "outputs.json").write_text('["Vesicle", "_", "Inner membrane", "Unknown"]')
    touch(*(project.output("TS_1", ontology) for ontology in ("Vesicle", "Inner membrane", "Unknown")))
    touch(project.output("TS_0", "Vesicle"))
    state = overview(project)
    assert (state.tomograms, state.annotated, state.test_tomograms) == (3, 2, 1)
    assert (state.processed, state.waiting) == (1, 2)
    assert state.joint_trained
    assert not state.joint_sampled
    assert state.outdated == Outdated()
    assert state.notes == ()
    vesicle, membrane = state.ontologies
    assert (vesicle.ontology, vesicle.tomograms, vesicle.boxes) == ("Vesicle", 2, 5)
    assert (vesicle.sampled, vesicle.trained) == (True, True)
    assert (vesicle.single_dice, vesicle.joint_dice, vesicle.outputs) == (0.75, 0.8, 2)
    assert (membrane.ontology, membrane.tomograms, membrane.boxes) == ("Inner membrane", 1, 1)
    assert (membrane.sampled, membrane.trained) == (False, False)
    assert (membrane.single_dice, membrane.joint_dice, membrane.outputs) == (None, 0.6, 1)


def test_annotations_that_are_newer_than_the_patches_ask_for_sampling(
    tmp_path: Path, cards: dict[Path, Figures | Exception]
) -> None:
    project = make(tmp_path)
    annotate(project, "TS_0", {"Vesicle": 1, "Inner membrane": 1})
    sample(project)
    train(cards, project.joint_network, {})
    assert not overview(project).outdated.patches
    touch(project.annotation("TS_0"), seconds_from_now=120)
    state = overview(project)
    assert state.outdated.patches
    assert state.next_command == "pom single initialize"
    assert "changed since the patches were sampled" in state.notes[0]


def test_patches_deleted_after_training_are_not_asked_for(
    tmp_path: Path, cards: dict[Path, Figures | Exception]
) -> None:
    project = make(tmp_path)
    annotate(project, "TS_0", {"Vesicle": 1, "Inner membrane": 1})
    for folder in (*map(project.single_network, ONTOLOGIES), project.joint_network):
        train(cards, folder, {})
    assert overview(project).next_command == "pom shared process"


@pytest.fixture
def finished(tmp_path: Path, cards: dict[Path, Figures | Exception]) -> Project:
    """Every step was done, an hour after the one before it; the last an hour ago."""
    project = make(tmp_path)
    annotate(project, "TS_0", {"Vesicle": 1, "Inner membrane": 1})
    touch(project.annotation("TS_0"), seconds_from_now=-6 * HOUR)
    touch(*map(project.single_dataset, ONTOLOGIES), seconds_from_now=-5 * HOUR)
    for ontology in ONTOLOGIES:
        train(cards, project.single_network(ontology), {})
        touch(project.single_network(ontology) / CARD_FILE, seconds_from_now=-4 * HOUR)
    write_joint_dataset(project, OUTPUTS)
    touch(project.joint_dataset, seconds_from_now=-3 * HOUR)
    train(cards, project.joint_network, {})
    touch(project.joint_network / CARD_FILE, seconds_from_now=-2 * HOUR)
    for name in ("TS_0", "TS_1"):
        touch(*(project.output(name, output) for output in OUTPUTS), seconds_from_now=-HOUR)
    return project


def write_joint_dataset(project: Project, outputs: tuple[str, ...]) -> None:
    project.joint_dataset.parent.mkdir(parents=True, exist_ok=True)
    np.savez(project.joint_dataset, outputs=np.array(outputs))


def told(state: Overview) -> tuple[str, tuple[str, ...]]:
    return state.next_command, state.notes


def test_nothing_is_outdated_where_each_step_follows_the_one_before(finished: Project) -> None:
    assert told(overview(finished)) == ("pom summarize", ())
    assert overview(finished).outdated == Outdated()


def test_what_is_older_than_what_it_was_made_from_is_made_again(finished: Project) -> None:
    """From the last step to the first: each time the earliest step that is needed comes next."""
    touch(finished.output("TS_1", "Unknown"), seconds_from_now=-2.5 * HOUR)
    older = "1 tomogram was segmented by an older network: pom shared process --outdated."
    assert told(overview(finished)) == ("pom shared process --outdated", (older,))
    touch(finished.joint_dataset, seconds_from_now=-1.5 * HOUR)
    labels = "What the joint network learnt from has been made again since it was trained."
    assert told(overview(finished)) == ("pom shared train", (labels, older))
    touch(finished.single_network("Vesicle") / CARD_FILE, seconds_from_now=-1.4 * HOUR)
    networks = "The joint labels are older than the single networks or the ontologies that they come from."
    assert told(overview(finished)) == ("pom shared initialize", (networks, older))
    touch(finished.single_dataset("Inner membrane"), seconds_from_now=-1.3 * HOUR)
    patches = "Patches have been sampled again since these single networks were trained: Inner membrane."
    assert told(overview(finished)) == ("pom single train -o 'Inner membrane'", (patches, networks, older))
    touch(finished.single_dataset("Vesicle"), seconds_from_now=-1.3 * HOUR)
    assert overview(finished).next_command == "pom single train --all"
    touch(finished.annotation("TS_0"), seconds_from_now=-1.2 * HOUR)
    assert overview(finished).next_command == "pom single initialize"


def test_after_another_training_all_outputs_are_old(finished: Project) -> None:
    touch(finished.joint_network / CARD_FILE)
    touch(finished.tomogram("TS_2"))
    state = overview(finished)
    assert state.outdated.outputs == 2
    assert state.notes == ("2 tomograms were segmented by an older network: pom shared process --outdated.",)
    # What is missing is no reason to do the others again first.
    assert state.next_command == "pom shared process"


def test_old_networks_without_their_patches_are_not_old(finished: Project) -> None:
    for path in (*map(finished.single_dataset, ONTOLOGIES), finished.joint_dataset):
        path.unlink()
    touch(*(finished.single_network(ontology) / CARD_FILE for ontology in ONTOLOGIES))
    assert told(overview(finished)) == ("pom summarize", ())


def test_a_joint_network_of_other_ontologies_leads_back_to_the_right_step(
    finished: Project, cards: dict[Path, Figures | Exception]
) -> None:
    def state() -> Overview:
        return overview(project)

    project = make(finished.folder, ontologies=(*ONTOLOGIES, "Granule"))
    note = (
        "The joint network has the outputs Vesicle, Inner membrane, Unknown, which are not the configuration's "
        "ontologies and Unknown: the joint steps must be done again."
    )
    # Without boxes of the new ontology there is nothing to sample or to train.
    assert told(state()) == ("pom shared initialize", (note,))
    annotate(project, "TS_1", {"Granule": 1})
    touch(project.annotation("TS_1"), seconds_from_now=-6 * HOUR)
    assert state().next_command == "pom single initialize"
    touch(project.single_dataset("Granule"), seconds_from_now=-5 * HOUR)
    assert state().next_command == "pom single train -o Granule"
    train(cards, project.single_network("Granule"), {})
    assert state().next_command == "pom shared initialize"
    write_joint_dataset(project, (*ONTOLOGIES, "Granule", "Unknown"))
    assert told(state()) == ("pom shared train", (note,))
    (project.joint_network / "outputs.json").write_text(json.dumps([*ONTOLOGIES, "Granule", "Unknown"]))
    touch(project.joint_network / CARD_FILE)
    assert state().next_command == "pom shared process"


def test_damaged_files_are_notes_and_nothing_stops(tmp_path: Path, cards: dict[Path, Figures | Exception]) -> None:
    project = make(tmp_path)
    annotate(project, "TS_0", {"Vesicle": 2})
    project.annotation("TS_1").write_bytes(b"\x80\x04no pickle")
    train(cards, project.single_network("Vesicle"), PomError("The card is damaged."))
    state = overview(project)
    assert state.annotated == 2
    assert state.ontologies[0].boxes == 2
    assert not state.ontologies[0].trained
    assert len(state.notes) == 2
    assert "TS_1.scns" in state.notes[0]
    assert state.notes[1] == "The card is damaged."


def test_boxes_that_will_not_count_are_noted(tmp_path: Path) -> None:
    project = make(tmp_path)
    annotate(project, "TS_0", {"vesicles": 4, "Inner membrane": 0, "unused": 0}, drawn=("Inner membrane",))
    touch(project.annotation("TS_9"))
    assert overview(project).notes == (
        "1 annotation does not count for want of a tomogram of the same name, such as TS_9.scns.",
        "4 boxes are titled 'vesicles' (did you mean 'Vesicle'?), which is no ontology.",
        "Inner membrane is drawn in 1 tomogram but has no boxes, and only boxes are sampled.",
    )


@pytest.mark.parametrize("placed", [("Vesicle",), ("Unknown",), ("Vesicle", "Inner membrane", "Unknown")])
def test_placeholders_count_as_absent(
    tmp_path: Path, cards: dict[Path, Figures | Exception], placed: tuple[str, ...]
) -> None:
    project = make(tmp_path, tomograms=1)
    touch(*(project.output("TS_0", ontology) for ontology in (*ONTOLOGIES, "Unknown")))
    for ontology in placed:
        write_placeholder(project.output("TS_0", ontology))
    train(cards, project.joint_network, {})
    state = overview(project)
    assert state.processed == 0
    assert [o.outputs for o in state.ontologies] == [int(ontology not in placed) for ontology in ONTOLOGIES]
    assert state.next_command == "pom shared process"


def test_missing_macromolecules_are_counted_and_not_waited_for(
    tmp_path: Path, cards: dict[Path, Figures | Exception]
) -> None:
    project = make(tmp_path, tomograms=2, macromolecules=("Density", "Membrane", "_", "Ribosome"))
    train(cards, project.joint_network, {})
    touch(project.macromolecule("TS_0", "Membrane"), project.macromolecule("TS_0", "Ribosome"))
    touch(project.macromolecule("TS_1", "Ribosome"))
    state = overview(project)
    assert state.missing_macromolecules == {"Membrane": 1}
    assert state.waiting == 1
    assert state.next_command == "pom shared process"
    touch(*(project.output("TS_0", ontology) for ontology in (*ONTOLOGIES, "Unknown")))
    state = overview(project)
    assert state.waiting == 0
    assert state.next_command == (
        f"put the missing volumes of Membrane into {tmp_path / 'macromolecules'}, then pom shared process"
    )


def test_genuine_annotation_files_are_counted(tmp_path: Path) -> None:
    project = make(tmp_path, tomograms=0, ontologies=("Vesicle", "Granule", "Void"))
    genuine = sorted((Path(__file__).parent.parent / "data" / "ais").glob("*.scns"))
    for path in genuine:
        shutil.copy(path, project.tomogram_dir)
        touch(project.tomogram(path.stem))
    state = overview(project)
    assert state.annotated == len(genuine) == 2
    assert [(o.tomograms, o.boxes) for o in state.ontologies] == [(2, 30)] * 3
    assert state.notes == ()


def test_five_thousand_tomograms_take_a_moment(tmp_path: Path) -> None:
    project = make(tmp_path, tomograms=5000, macromolecules=("Density", "Membrane"))
    project.output_dir.mkdir()
    for number in range(5000):
        project.output(f"TS_{number}", "Unknown").touch()
    begin = time.process_time()
    state = overview(project)
    assert time.process_time() - begin < 2.0
    assert state.tomograms == 5000
    assert state.missing_macromolecules == {"Membrane": 5000}


def test_nothing_is_written(tmp_path: Path) -> None:
    project = make(tmp_path)
    annotate(project, "TS_0", {"Vesicle": 1})
    before = sorted(tmp_path.rglob("*"))
    overview(project)
    assert sorted(tmp_path.rglob("*")) == before
