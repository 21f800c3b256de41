"""Who may edit a tomogram, and what is on disk after an edit."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pom.app.annotate.current_project import CurrentProject
from pom.app.annotate.known import know
from pom.app.annotate.opening import open_tomogram
from pom.app.annotate.session import NotEditing, Sessions, UnknownSession
from pom.errors import PomError
from pom.io.annotation_store import AnnotationStore
from pom.io.mrc import MrcWriter, read_header
from pom.io.palette import PALETTE
from pom.jobs.claims import Claims
from pom.project.paths import CONFIGURATION_FILE, Project

GRACE = 0.3


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    """Three annotated tomograms; of TS_3 the annotation is taken away."""
    project = make_project()
    project.annotation("TS_3").unlink()
    return project


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert true()


def test_looking_makes_no_files(project: Project) -> None:
    before = files(project.tomogram_dir)
    sessions = Sessions(project, grace=GRACE)
    scns, empty = sessions.open("TS_1"), sessions.open("TS_3")
    assert [(feature.id, feature.title) for feature in scns.document.features()] == [("f1", "Disc"), ("f2", "Square")]
    assert set(scns.document.masks(3)) == {"f1"} and scns.document.masks(0) == {}
    assert empty.document.features() == () and empty.document.masks(3) == {}
    sessions.close()
    assert files(project.tomogram_dir) == before
    assert [path.name for path in (project.folder / ".pom" / "editing").iterdir()] == []


def test_the_first_change_of_a_bare_tomogram_makes_the_store(project: Project) -> None:
    session = Sessions(project).open("TS_3")
    feature = session.add_feature("Disc", 32)
    session.write_patch(feature.id, 5, 10, 20, np.ones((3, 4), bool))
    store = AnnotationStore.open(project.native_annotation("TS_3"))
    mask = store.mask("f1", 5)
    assert mask[10:13, 20:24].all() and mask.sum() == 12
    session.close()


def test_a_feature_that_nobody_gave_a_colour_is_like_no_other(project: Project) -> None:
    session = Sessions(project).open("TS_3")
    for title, colour in (("Vesicle", "#ffff00"), ("ER", "#E8A002")):
        session.add_feature(title, 32, colour)
    colours = [session.add_feature(f"Feature {k}", 32).colour for k in range(3)]
    assert colours == [PALETTE[1], PALETTE[2], PALETTE[4]]  # orange and yellow are taken
    session.close()


def test_an_edit_takes_over_the_annotation_of_ais(project: Project) -> None:
    session = Sessions(project).open("TS_1")
    mask = session.document.masks(3)["f1"]
    session.set_boxes("f2", 7, [(12.5, 30)])
    store = AnnotationStore.open(project.native_annotation("TS_1"))
    assert np.array_equal(store.mask("f1", 3), mask) and mask.any()
    assert store.feature("f2").boxes[7] == [(12.5, 30)]
    assert store.feature("f1").boxes[3] == [(22, 20), (16, 47)]
    session.close()


def test_the_second_page_looks_and_gets_the_right_when_the_first_leaves(project: Project) -> None:
    sessions = Sessions(project, grace=GRACE)
    first, second = sessions.open("TS_1", tab="a", address="10.0.0.5"), sessions.open("TS_1", tab="b")
    told: list[bool] = []
    second.listen(lambda: told.append(True))
    assert (first.may_edit, second.may_edit) == (True, False)
    other = second.other_editor()
    assert other is not None and other.address == "10.0.0.5" and "edits this tomogram since" in other.sentence()
    with pytest.raises(NotEditing, match="edits this tomogram"):
        second.set_boxes("f1", 3, [])
    assert not second.take_edit()
    first.add_feature("Third", 32)
    assert told and [feature.title for feature in second.document.features()] == ["Disc", "Square", "Third"]
    first.close()
    assert second.other_editor() is None and second.take_edit()
    second.set_boxes("f1", 3, [(1, 2)])
    with pytest.raises(UnknownSession):
        sessions.get(first.id)
    sessions.close()


def test_a_page_that_is_away_keeps_the_right_for_a_short_time(project: Project) -> None:
    sessions = Sessions(project, grace=GRACE)
    first, second = sessions.open("TS_1", tab="a"), sessions.open("TS_1", tab="b")
    first.lost()
    assert not second.take_edit()
    first.back()
    time.sleep(2 * GRACE)
    assert first.may_edit
    first.lost()
    wait_until(lambda: second.other_editor() is None)
    first.set_boxes("f1", 3, [(4, 4)])  # nobody else has changed anything: what was drawn meanwhile is not lost
    assert first.may_edit
    first.lost()
    wait_until(lambda: not first.may_edit)
    assert second.take_edit()
    second.set_boxes("f1", 3, [(5, 5)])
    with pytest.raises(NotEditing, match="edits this tomogram"):
        first.set_boxes("f1", 3, [(6, 6)])
    second.close()
    first.back()
    with pytest.raises(NotEditing, match="load the page again"):  # what it shows is not what is there
        first.set_boxes("f1", 3, [(6, 6)])
    assert AnnotationStore.open(project.native_annotation("TS_1")).feature("f1").boxes[3] == [(5, 5)]
    sessions.close()


def test_a_page_that_is_loaded_again_edits_at_once(project: Project) -> None:
    sessions = Sessions(project, grace=GRACE)
    before, after = sessions.open("TS_1", tab="a"), sessions.open("TS_1", tab="a")
    assert (before.may_edit, after.may_edit) == (False, True)
    before.close()
    after.set_boxes("f1", 3, [])
    sessions.close()


def test_two_servers_with_one_project(project: Project) -> None:
    one, two = Sessions(project), Sessions(project)
    first, second = one.open("TS_1", address="here"), two.open("TS_1")
    assert (first.may_edit, second.may_edit) == (True, False)
    other = second.other_editor()
    assert other is not None and (other.address, other.since) == ("here", first.editor.since)
    first.set_boxes("f1", 3, [(1, 1)])
    assert second.document.features()[0].boxes[3] == [(1, 1)]  # what the other server wrote is seen
    one.close()
    assert second.take_edit()
    second.set_boxes("f1", 3, [(2, 2)])
    two.close()


def test_a_lost_claim_refuses_strokes(project: Project) -> None:
    sessions = Sessions(project)
    session = sessions.open("TS_1")
    for path in (project.folder / ".pom" / "editing").glob("*.lock*"):
        path.unlink()
    other = Claims(project.folder / ".pom" / "editing").take("TS_1")
    assert other is not None
    with pytest.raises(NotEditing, match="was lost"):
        session.set_boxes("f1", 3, [])
    assert not session.may_edit and not project.native_annotation("TS_1").exists()
    other.release()


def test_remove_and_put_back(project: Project) -> None:
    sessions = Sessions(project)
    session = sessions.open("TS_1")
    before, mask = session.document.features()[0], session.document.masks(3)["f1"]
    assert session.document.removed_features() == ()
    assert session.remove_feature("f1") == before
    assert [feature.title for feature in session.document.features()] == ["Square"]
    assert session.document.removed_features() == (before,)
    assert session.put_back("f1") == before
    assert [feature.title for feature in session.document.features()] == ["Disc", "Square"]
    assert np.array_equal(session.document.masks(3)["f1"], mask)
    assert session.document.removed_features() == ()
    sessions.close()


def test_a_removed_feature_can_be_put_back_later_by_whoever_edits(project: Project) -> None:
    sessions = Sessions(project, grace=GRACE)
    first, second = sessions.open("TS_1", tab="a"), sessions.open("TS_1", tab="b")
    removed = first.remove_feature("f1")
    with pytest.raises(NotEditing, match="edits this tomogram"):
        second.put_back("f1")
    sessions.close()
    later = Sessions(project).open("TS_1")
    assert later.document.removed_features() == (removed,)
    assert later.put_back("f1") == removed
    with pytest.raises(PomError, match="no feature 'f1' to put back"):
        later.put_back("f1")
    later.close()


def test_a_feature_is_not_put_back_beside_another_of_its_title(project: Project) -> None:
    session = Sessions(project).open("TS_1")
    session.remove_feature("f1")
    again = session.add_feature("disc", 32)
    with pytest.raises(PomError, match="has a feature 'disc' already: rename that one first"):
        session.put_back("f1")
    assert [feature.title for feature in session.document.features()] == ["Square", "disc"]
    session.change_feature(again.id, title="Other disc")
    session.put_back("f1")
    assert [feature.title for feature in session.document.features()] == ["Disc", "Square", "Other disc"]
    session.close()


def test_a_page_knows_what_it_could_put_back(project: Project) -> None:
    sessions = Sessions(project)
    first, second = sessions.open("TS_1", tab="a"), sessions.open("TS_1", tab="b")
    removed = first.remove_feature("f1")
    assert (know(first).removed, know(second).removed) == ((removed,), ())
    sessions.close()


def test_the_right_is_given_back_where_the_tomogram_cannot_be_shown(make_project: Callable[..., Project]) -> None:
    project = make_project(tomograms=("TS_1",), output_dir="o" * 300)  # no file system takes such a name
    sessions = Sessions(project)
    with pytest.raises(OSError, match="name too long"):
        open_tomogram(sessions, "TS_1", tab="a", address="", look=False)
    assert sessions.rights.editor("TS_1") is None
    assert sessions.open("TS_1", tab="b").may_edit
    sessions.close()


def test_an_ontology_that_another_server_adds_is_seen(project: Project) -> None:
    write_configuration(project)
    one, two = CurrentProject(project), CurrentProject(project)
    one.add_ontology("Golgi")
    assert two.project is project
    two.add_ontology("Golgi")  # there is nothing left to do
    assert two.project.ontologies == ("Disc", "Square", "Golgi")
    two.add_ontology("ER")
    seen = one.read_again()
    assert seen is one.project and seen.ontologies == ("Disc", "Square", "Golgi", "ER")
    os.utime(project.folder / CONFIGURATION_FILE, (0, 0))
    assert one.read_again() is seen  # read, and the same


@pytest.mark.parametrize(
    ("change", "said"), [({"z_sum": -1}, "z_sum"), ({"tomogram_dir": "denoised"}, "end this server and start it again")]
)
def test_a_configuration_that_cannot_be_taken_over_changes_nothing(
    project: Project, change: dict[str, object], said: str
) -> None:
    write_configuration(project)
    current = CurrentProject(project)
    before = (project.folder / CONFIGURATION_FILE).read_text()
    write_configuration(project, **change)
    for _ in range(2):
        with pytest.raises(PomError, match=said):
            current.read_again()
    assert current.project is project
    (project.folder / CONFIGURATION_FILE).write_text(before)
    assert current.read_again() is project


def write_configuration(project: Project, **changes: object) -> None:
    values = project.configuration.model_dump(mode="json", by_alias=True)
    (project.folder / CONFIGURATION_FILE).write_text(json.dumps({**values, **changes}))


def test_titles_and_names_are_checked(project: Project) -> None:
    sessions = Sessions(project)
    session = sessions.open("TS_1")
    with pytest.raises(PomError, match="has a feature 'Disc' already"):
        session.add_feature("disc", 32)
    with pytest.raises(PomError, match="has a feature 'Disc' already"):
        session.change_feature("f2", title="Disc")
    session.change_feature("f1", title="disc", colour="#102030", box_size=16)
    feature = session.document.feature("f1")
    assert (feature.title, feature.colour, feature.box_size) == ("disc", "#102030", 16)
    with pytest.raises(PomError, match=r"no tomogram '\.\./TS_1'"):
        sessions.open("../TS_1")
    sessions.close()


def test_what_was_changed_on_disk_meanwhile_is_not_drawn_over(project: Project) -> None:
    sessions = Sessions(project)
    session = sessions.open("TS_1")
    before = project.annotation("TS_1").read_bytes()
    os.utime(project.annotation("TS_1"), (time.time() + 5, time.time() + 5))  # as Ais does when it saves
    with pytest.raises(NotEditing, match="TS_1 has changed on disk meanwhile"):
        session.write_patch("f1", 5, 0, 0, np.ones((2, 2), bool))
    assert project.annotation("TS_1").read_bytes() == before
    assert not project.native_annotation("TS_1").exists()
    again = sessions.open("TS_1", tab=session.tab)
    session.close()
    wait_until(again.take_edit)
    again.write_patch("f1", 5, 0, 0, np.ones((2, 2), bool))
    assert AnnotationStore.open(project.native_annotation("TS_1")).mask("f1", 5)[:2, :2].all()


def test_the_version_is_that_of_the_moment_when_the_right_was_taken(project: Project) -> None:
    sessions = Sessions(project, grace=GRACE)
    first, second = sessions.open("TS_1", tab="a"), sessions.open("TS_1", tab="b")
    assert first.version == {"revision": 0, "stamp": first.document.stamp} and second.version is None
    drawn = first.write_patch("f1", 5, 0, 0, np.ones((2, 2), bool))
    assert first.version == drawn and drawn["revision"] > 0
    first.lost()
    wait_until(second.take_edit)
    assert first.version is None
    assert second.version is not None and second.version["stamp"] == drawn["stamp"]
    boxed = second.set_boxes("f1", 3, [(5, 5)])
    second.close()
    first.back()
    assert first.version is None  # it has not seen the boxes
    assert first.take_edit()
    assert first.version is not None and first.version["stamp"] == boxed["stamp"] != drawn["stamp"]
    sessions.close()
    again = Sessions(project).open("TS_1")
    assert again.version == {"revision": 0, "stamp": boxed["stamp"]}  # another run of the server says the same
    again.close()


def test_the_shape_is_that_of_the_file_as_it_is_now(project: Project) -> None:
    sessions = Sessions(project)
    assert sessions.shape("TS_3") == read_header(project.tomogram("TS_3")).shape
    with MrcWriter(project.tomogram("TS_3"), (3, 10, 20), np.float32, (10.0,) * 3) as writer:
        writer.write(np.zeros((3, 10, 20), np.float32))
    assert sessions.shape("TS_3") == (3, 10, 20)


def test_a_title_makes_no_path(project: Project) -> None:
    session = Sessions(project).open("TS_1")
    session.change_feature("f1", title="x/../../../y")
    removed = project.native_annotation("TS_1") / "removed"
    session.remove_feature("f1")
    assert {path.name for path in removed.iterdir()} == {"f1.json", "f1"}
    session.close()
