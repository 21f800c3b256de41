import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pom.errors import PomError
from pom.jobs.ledger import MOST_TRIES, InputFile, Ledger, Record, Try, WorkerNote

ODD_NAME = "lamella 3.1 [red] ä"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "jobs", tmp_path / "records")


def record(tomogram: str, network: str = "new") -> Record:
    return Record(
        tomogram=tomogram, step="shared", network=network, configuration="c" * 64, version="1.0", host="n1",
        inputs={"Density": InputFile(file=f"{tomogram}.mrc", bytes=1024, modified=12.5)}, device="cuda:0",
        started=1000.0, seconds=30.0, outputs=(f"{tomogram}__Vesicle.mrc", f"{tomogram}__Unknown.mrc"),
    )  # fmt: skip


def test_a_record_of_an_earlier_version_has_no_score(ledger: Ledger, tmp_path: Path) -> None:
    ledger.write_record(record("TS_1").model_copy(update={"unlike": 1.25}))
    assert [one.unlike for one in ledger.records()] == [1.25]
    path = tmp_path / "records" / "TS_1.json"
    values = json.loads(path.read_text())
    del values["unlike"]
    path.write_text(json.dumps(values))
    assert [one.unlike for one in ledger.records()] == [None]


def attempt(reason: str) -> Try:
    return Try(
        host="n1", device="cpu", started=5.0, seconds=1.5, reason=reason, traceback="Traceback\n  ä", log="w.log"
    )


def note(host: str, pid: int, tomogram: str) -> WorkerNote:
    return WorkerNote(host=host, pid=pid, device="cuda:1", tomogram=tomogram, since=7.0, log="")


def test_records_come_back_as_they_were(ledger: Ledger, tmp_path: Path) -> None:
    written = [record("TS_1"), record(ODD_NAME)]
    for one in written:
        ledger.write_record(one)
    assert ledger.record(ODD_NAME) == record(ODD_NAME)
    assert ledger.record("TS_2") is None
    assert ledger.recorded() == {"TS_1", ODD_NAME}
    assert sorted(ledger.records(), key=lambda one: one.tomogram) == written
    assert record("TS_1").finished == 1030.0
    assert json.loads((tmp_path / "records" / "TS_1.json").read_text())["inputs"] == {
        "Density": {"file": "TS_1.mrc", "bytes": 1024, "modified": 12.5}
    }


def test_when_a_record_was_written(ledger: Ledger, tmp_path: Path) -> None:
    assert ledger.finished_at("TS_1") is None
    ledger.write_record(record("TS_1"))
    os.utime(tmp_path / "records" / "TS_1.json", (3.0, 4.5))
    assert ledger.finished_at("TS_1") == 4.5
    ledger.write_record(record("TS_1"))
    assert ledger.finished_at("TS_1") != 4.5


def test_reading_makes_no_folder(ledger: Ledger, tmp_path: Path) -> None:
    assert ledger.recorded() == set()
    assert list(ledger.records()) == []
    assert ledger.tries("TS_1") == ()
    assert ledger.failures() == {}
    assert ledger.workers() == []
    ledger.forget("TS_1")
    ledger.drop("n1", 12)
    assert list(tmp_path.iterdir()) == []


def test_damaged_and_strange_files_are_absent(ledger: Ledger, tmp_path: Path) -> None:
    ledger.write_record(record("TS_1"))
    ledger.add_try("TS_1", attempt("No."))
    ledger.note(note("n1", 1, "TS_1"))
    for path in tmp_path.rglob("*.json"):
        (path.parent / "TS_2.json").write_text(path.read_text()[:-20])
        (path.parent / ".TS_3.json").write_text(path.read_text())
        (path.parent / "TS_4.txt").write_text(path.read_text())
    assert ledger.record("TS_2") is None
    assert [one.tomogram for one in ledger.records()] == ["TS_1"]
    assert list(ledger.failures()) == ["TS_1"]
    assert ledger.tries("TS_2") == ()
    assert ledger.workers() == [note("n1", 1, "TS_1")]


def test_a_record_of_a_later_version_is_read(ledger: Ledger, tmp_path: Path) -> None:
    ledger.write_record(record("TS_1"))
    path = tmp_path / "records" / "TS_1.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"colour": "blue"}))
    assert ledger.record("TS_1") == record("TS_1")


def test_records_are_read_again_only_where_they_changed(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    plain = Ledger.record

    def counting(self: Ledger, name: str) -> Record | None:
        read.append(name)
        return plain(self, name)

    monkeypatch.setattr(Ledger, "record", counting)
    names = [f"TS_{number}" for number in range(20)]
    for name in names:
        ledger.write_record(record(name))
    assert {one.tomogram for one in ledger.records()} == set(names)
    assert sorted(read) == sorted(names)
    read.clear()
    assert len(list(ledger.records())) == 20
    assert read == []
    ledger.write_record(record("TS_3", network="newer"))
    ledger.write_record(record("TS_20"))
    assert {one.tomogram: one.network for one in ledger.records()}["TS_3"] == "newer"
    assert sorted(read) == ["TS_20", "TS_3"]


def test_a_record_that_is_gone_is_forgotten(ledger: Ledger, tmp_path: Path) -> None:
    ledger.write_record(record("TS_1"))
    assert len(list(ledger.records())) == 1
    (tmp_path / "records" / "TS_1.json").unlink()
    assert list(ledger.records()) == []


def test_tries_add_up_until_they_are_forgotten(ledger: Ledger) -> None:
    ledger.add_try(ODD_NAME, attempt("First."))
    ledger.add_try(ODD_NAME, attempt("Second."))
    ledger.add_try("TS_1", attempt("Other."))
    assert ledger.tries(ODD_NAME) == (attempt("First."), attempt("Second."))
    assert ledger.failures() == {"TS_1": (attempt("Other."),), ODD_NAME: (attempt("First."), attempt("Second."))}
    assert list(ledger.failures()) == ["TS_1", ODD_NAME]
    ledger.forget(ODD_NAME)
    assert ledger.tries(ODD_NAME) == ()
    assert list(ledger.failures()) == ["TS_1"]


@pytest.mark.parametrize("name", ["x" * 245, "TS_\udce9"])
def test_no_more_tries_where_no_file_can_bear_the_name(ledger: Ledger, name: str) -> None:
    assert [ledger.add_try("TS_1", attempt("a")), ledger.add_try("TS_1", attempt("b"))] == [1, 2]
    assert ledger.add_try(name, attempt("c")) == MOST_TRIES
    assert set(ledger.failures()) == {"TS_1"}


def test_notes_are_one_a_worker(ledger: Ledger) -> None:
    for worker in (note("n2", 12, "TS_1"), note("n1", 12, "TS_2"), note("n1", 9, "TS_3"), note("n2", 12, "TS_4")):
        ledger.note(worker)
    assert ledger.workers() == [note("n1", 9, "TS_3"), note("n1", 12, "TS_2"), note("n2", 12, "TS_4")]
    ledger.drop("n1", 12)
    assert ledger.workers() == [note("n1", 9, "TS_3"), note("n2", 12, "TS_4")]


def test_containers_of_one_host_name_have_notes_of_their_own(ledger: Ledger) -> None:
    """In each of them the first process is number 1."""
    notes = [note("n1", 1, f"TS_{number}").model_copy(update={"place": f"n1@{number}"}) for number in (1, 2)]
    for one in notes:
        ledger.note(one)
    assert sorted(ledger.workers(), key=lambda each: each.place) == notes
    ledger.drop("n1@1", 1)
    assert ledger.workers() == notes[1:]


def test_what_cannot_be_written_is_an_error_of_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("a file in the folder's place")
    ledger = Ledger(tmp_path / "jobs", tmp_path / "jobs")
    with pytest.raises(PomError, match="cannot be written"):
        ledger.write_record(record("TS_1"))
    with pytest.raises(PomError, match="cannot be written"):
        ledger.add_try("TS_1", attempt("No."))
    with pytest.raises(PomError, match="cannot be written"):
        ledger.note(note("n1", 1, "TS_1"))


def test_a_read_only_folder(disk_of: Callable[[str], Path], make_read_only: Callable[[Path], None]) -> None:
    disk = disk_of("64k")
    ledger = Ledger(disk / "jobs", disk / "records")
    ledger.add_try("TS_1", attempt("No."))
    make_read_only(disk)
    with pytest.raises(PomError, match=r"TS_1\.json cannot be written because its folder is read-only"):
        ledger.forget("TS_1")
    assert list(ledger.failures()) == ["TS_1"]
