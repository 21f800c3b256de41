import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pom.io.annotation_store import AnnotationStore
from pom.io.channels import DENSITY
from pom.io.checkpoints import save_network
from pom.io.mrc import MrcWriter
from pom.io.scns import Annotation, Feature, write_scns
from pom.jobs.ledger import Record
from pom.networks.devices import Devices
from pom.project.paths import Project
from pom.workflow import where_to_look
from pom.workflow.segmentation import Segmentation
from pom.workflow.slice_preview import SlicePreview
from pom.workflow.where_to_look import FAR, NOTHING_YET, STRANGE, Look, Suggestion, suggest

MakeProject = Callable[..., Project]
CPU = Devices()
FULL = (40, 96, 128)
BINNED = (20, 48, 64)
SIDE = 32
TITLES = ("Disc", "Square")


def write(project: Project, name: str, outputs: Mapping[str, NDArray[np.float32]]) -> None:
    """A tomogram and its segmentations, 0..1."""
    with MrcWriter(project.tomogram(name), FULL, np.int8, (15.68,) * 3) as writer:
        writer.write(np.random.default_rng(0).integers(-9, 9, FULL).astype(np.int8))
    for ontology, volume in outputs.items():
        with MrcWriter(project.output(name, ontology), BINNED, np.int8, (31.36,) * 3) as writer:
            writer.write(np.rint(volume * 127).astype(np.int8))


def annotate(project: Project, name: str, slices: Sequence[int]) -> None:
    feature = Feature("Disc", SIDE, {z: [(50.0, 50.0)] for z in slices}, {})
    write_scns(project.annotation(name), Annotation("", *FULL, 1.568, (feature,)))


def none() -> NDArray[np.float32]:
    return np.zeros(BINNED, np.float32)


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    return make_project(tomograms=(), macromolecules=(DENSITY,), ontology_annotation_box_size=SIDE, z_sum=2)


def record(project: Project, name: str, unlike: float | None, network: str) -> None:
    entry = Record(
        tomogram=name, step="shared", network=network, configuration="", inputs={}, version="", host="", device="",
        started=0.0, seconds=1.0, outputs=(), unlike=unlike,
    )  # fmt: skip
    Segmentation.joint(project).ledger.write_record(entry)


def test_nothing_at_all(project: Project) -> None:
    assert suggest(project, CPU, most=5) == []


def test_before_there_are_networks_tomograms_without_annotation(project: Project) -> None:
    for k in range(6):
        write(project, f"TS_{k}", {})
    annotate(project, "TS_2", [20])
    found = suggest(project, CPU, most=4)
    assert len(found) == 4
    assert len({place.tomogram for place in found} - {"TS_2"}) == 4
    for place in found:
        assert place == Suggestion(place.tomogram, 20, 64.0, 48.0, NOTHING_YET, 0.1)
    everything = suggest(project, CPU, most=100)
    assert {place.tomogram for place in everything[:5]} == {f"TS_{k}" for k in (0, 1, 3, 4, 5)}
    assert everything[5].tomogram == "TS_2"
    assert (everything[5].reason, everything[5].score) == (FAR, 0.0)
    assert everything[5].z in (6, 33)


def test_who_only_looked_has_not_annotated(project: Project) -> None:
    write(project, "TS_1", {})
    AnnotationStore.create(project.native_annotation("TS_1"), shape=FULL, pixel_size=1.568)
    assert [place.reason for place in suggest(project, CPU, most=3)] == [NOTHING_YET]


def test_where_a_network_is_unsure(project: Project) -> None:
    unsure, sure = none(), none()
    unsure[:, 8:24, 40:56] = 0.5
    sure[:, 30:] = 1.0
    for name, volume in (("TS_1", unsure), ("TS_2", sure)):
        write(project, name, {"Disc": none(), "Square": volume})
        annotate(project, name, [0])
    first, *others = suggest(project, CPU, most=20)
    assert first.tomogram == "TS_1"
    assert (first.x, first.y) == (96.0, 32.0)
    assert first.reason == "The network is unsure about Square here."
    assert first.score == pytest.approx(1.0, abs=0.01)
    assert all(place.tomogram == "TS_1" for place in others)


def test_where_two_networks_claim_one_place(project: Project) -> None:
    disc, square = none(), none()
    disc[:, 8:24, 40:56] = 1.0
    square[:, 8:30, 40:56] = 1.0
    write(project, "TS_1", {"Disc": disc, "Square": square})
    annotate(project, "TS_1", [0])
    place = suggest(project, CPU, most=1)[0]
    assert (place.x, place.y) == (96.0, 32.0)
    assert place.reason == "Disc and Square both claim this place."
    assert place.score == pytest.approx(1.0)


def test_no_slice_twice(project: Project) -> None:
    """Neither one whose slab holds an annotated slice, nor two of one slab; and nothing at the top and the bottom."""
    write(project, "TS_1", {"Disc": np.full(BINNED, 0.5, np.float32)})
    annotated = [12, 20]
    annotate(project, "TS_1", annotated)
    found = sorted(place.z for place in suggest(project, CPU, most=100))
    assert found
    assert all(abs(z - other) > 3 for z in found for other in annotated)
    assert all(b - a > 3 for a, b in pairwise(found))
    assert all(6 <= z < 34 for z in found)
    annotate(project, "TS_1", range(4, 40, 4))
    assert suggest(project, CPU, most=100) == []


def test_tomograms_take_turns(project: Project) -> None:
    for k in range(3):
        write(project, f"TS_{k}", {"Disc": np.full(BINNED, 0.5 - 0.05 * k, np.float32)})
    found = suggest(project, CPU, most=9)
    assert [place.tomogram for place in found[:3]] == ["TS_0", "TS_1", "TS_2"]
    assert [sum(place.tomogram == f"TS_{k}" for place in found[:6]) for k in range(3)] == [2, 2, 2]
    assert [place.score for place in found] == sorted((place.score for place in found), reverse=True)
    assert found == suggest(project, CPU, most=9)


def test_tomograms_unlike_those_annotated(project: Project, random_network: Callable[..., Any]) -> None:
    card = save_network(project.joint_network, *random_network("joint", (*TITLES, "Unknown"), (DENSITY,)))
    for name in ("TS_1", "TS_2", "TS_3", "TS_4"):
        write(project, name, {"Disc": none(), "Square": none()})
    annotate(project, "TS_3", [20])
    record(project, "TS_1", 0.8, card.weights_sha256)
    record(project, "TS_2", 1.6, card.weights_sha256)
    record(project, "TS_3", 5.0, card.weights_sha256)
    record(project, "TS_4", 9.0, "an older network")
    found = suggest(project, CPU, most=3)
    best = found[0]
    assert (best.tomogram, best.reason) == ("TS_2", STRANGE)
    assert best.score == pytest.approx(0.3)
    assert {place.tomogram for place in found[1:]} <= {"TS_1", "TS_2", "TS_4"}
    unsure = none()
    unsure[:, 8:24, 40:56] = 0.5
    write(project, "TS_2", {"Disc": unsure})
    assert suggest(project, CPU, most=1)[0].reason == f"The network is unsure about Disc here. {STRANGE}"


def test_without_segmentations_the_networks_are_asked(project: Project, random_network: Callable[..., Any]) -> None:
    for title in TITLES:
        save_network(project.single_network(title), *random_network("single", (title,), (DENSITY,)))
    for name in ("TS_1", "TS_2"):
        write(project, name, {})
    seen: list[tuple[int, int]] = []
    found = suggest(project, CPU, most=10, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 2), (1, 2), (2, 2)]
    assert [place.tomogram for place in found].count("TS_1") == 2
    assert [place.tomogram for place in found].count("TS_2") == 2
    preview = SlicePreview(project, CPU)
    for place in found:
        window = (slice(int(place.y) - 16, int(place.y) + 16), slice(int(place.x) - 16, int(place.x) + 16))
        answers = np.stack([preview.predict(place.tomogram, title, place.z)[window] for title in TITLES])
        assert answers.shape == (2, SIDE, SIDE)
        doubts = (1 - abs(2 * answers - 1)).mean(axis=(1, 2))
        contradiction = np.clip(2 * answers.min(axis=0) - 1, 0, 1).mean()
        best = next(one for one in found if one.tomogram == place.tomogram) == place
        assert place.score == pytest.approx((max(*doubts, contradiction) + 0.1) * (1 if best else 0.5), abs=0.02)


def test_what_cannot_be_used_is_said_and_passed_over(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("TS_1", "TS_2", "TS_3", "TS_4"):
        write(project, name, {"Disc": np.full(BINNED, 0.5, np.float32)})
    project.output("TS_1", "Disc").write_bytes(b"damaged")
    with MrcWriter(project.output("TS_2", "Disc"), (10, 10, 10), np.int8, (1.0,) * 3) as writer:
        writer.write(np.full((10, 10, 10), -1, np.int8))
    project.annotation("TS_3").write_bytes(b"damaged")
    project.tomogram("TS_5").write_bytes(b"damaged")
    with caplog.at_level(logging.WARNING):
        found = suggest(project, CPU, most=20)
    assert {place.tomogram for place in found} == {"TS_4"}
    for name in ("TS_1", "TS_2", "TS_3", "TS_5"):
        assert sum(message.startswith(f"{name} is left out: ") for message in caplog.messages) == 1
    assert "TS_2__Disc.mrc has the shape (10, 10, 10), where (20, 48, 64)" in caplog.text


def test_once_the_time_is_up_nothing_more_is_read(project: Project) -> None:
    for k in range(3):
        write(project, f"TS_{k}", {"Disc": np.full(BINNED, 0.5, np.float32)})
    found = suggest(project, CPU, most=5, seconds=0.0)
    assert {place.tomogram for place in found} == {"TS_0", "TS_1", "TS_2"}
    assert all(place.reason == NOTHING_YET for place in found)


def test_of_many_tomograms_only_some_are_read(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another choice once a tomogram more is annotated; strange ones are in it always."""
    write(project, "TS_000", {"Disc": np.full(BINNED, 0.4, np.float32)})
    for k in range(1, 150):
        for path in (project.tomogram, lambda name: project.output(name, "Disc")):
            path(f"TS_{k:03d}").symlink_to(path("TS_000"))
    looks: list[str] = []
    segmented = where_to_look._segmented

    def spy(project: Project, name: str, *rest: Any) -> Look:
        looks.append(name)
        return segmented(project, name, *rest)

    monkeypatch.setattr(where_to_look, "_segmented", spy)
    monkeypatch.setattr(where_to_look, "_unlike", lambda project: {"TS_077": 1.2, "TS_078": 0.9, "TS_079": 1.3})
    found = suggest(project, CPU, most=30)
    assert len(looks) == len(set(looks)) == 48
    assert looks[:2] == ["TS_079", "TS_077"]
    assert len({place.tomogram for place in found}) == 30
    before = set(looks)
    annotate(project, "TS_100", [20])
    looks.clear()
    suggest(project, CPU, most=30)
    assert len(before & set(looks)) < 40
    assert "TS_077" in looks


def test_a_folder_of_outputs_that_is_gone(project: Project) -> None:
    write(project, "TS_1", {"Disc": none()})
    shutil.rmtree(project.output_dir)
    assert [place.reason for place in suggest(project, CPU, most=1)] == [NOTHING_YET]
