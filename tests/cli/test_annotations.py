import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from pom.cli.main import app
from pom.io.annotation_store import AnnotationStore, write_annotation
from pom.io.scns import Annotation, read_scns
from pom.jobs.editing import Editor, EditRights, this_editor
from pom.project.paths import CONFIGURATION_FILE, Project
from pom.workflow import annotation_forms


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def project(make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch) -> Project:
    made = make_project(tomograms=("TS_1", "TS_2"))
    (made.folder / CONFIGURATION_FILE).write_text(made.configuration.model_dump_json(by_alias=True))
    monkeypatch.chdir(made.folder)
    return Project.open(Path())


def test_there_and_back(project: Project) -> None:
    result = run("annotations", "import")
    assert (result.exit_code, result.stdout) == (0, "2 annotations imported.\n")
    store = AnnotationStore.open(project.native_annotation("TS_1"))
    store.write_patch("f1", 0, 5, 6, np.ones((2, 3), bool))
    result = run("annotations", "export", "--scns", "TS_1")
    assert result.exit_code == 0
    first, second = result.stdout.splitlines()
    assert first == "1 annotation exported."
    assert second.startswith("Kept what was there: tomograms/TS_1.scns.kept-")
    assert read_scns(project.annotation("TS_1")).features[0].slices[0].sum() == 6
    for arguments in (("export", "-scns"), ("export",), ("import", "TS_1", "TS_2")):
        result = run("annotations", *arguments)
        assert (result.exit_code, result.stdout) == (0, f"0 annotations {arguments[0]}ed, 2 the same already.\n")


def test_what_fails_is_listed_with_status_1(project: Project) -> None:
    project.annotation("TS_1").write_bytes(b"hello")
    result = run("annotations", "import")
    assert result.exit_code == 1
    assert "1 annotation imported, 1 failed." in result.stdout
    assert "TS_1" in result.stdout
    assert "tomograms/TS_1.scns is damaged" in " ".join(result.stdout.split())
    assert not project.native_annotation("TS_1").exists()


def test_a_tomogram_that_somebody_edits_is_not_imported(project: Project) -> None:
    rights = EditRights(project.editing_claims)
    claim = rights.take("TS_1", Editor(user="alice", host="ws7", address="10.0.0.5", since=1e9))
    assert claim is not None
    result = run("annotations", "import")
    assert result.exit_code == 1
    assert "1 annotation imported, 1 failed." in result.stdout
    assert "alice on ws7 edits this tomogram since" in " ".join(result.stdout.split())
    assert not project.native_annotation("TS_1").exists() and project.native_annotation("TS_2").exists()
    rights.release("TS_1", claim)
    assert run("annotations", "import").exit_code == 0
    assert project.native_annotation("TS_1").exists()
    rights.close()
    assert list(project.editing_claims.iterdir()) == []


def test_nobody_can_begin_to_edit_what_is_imported(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    rights = EditRights(project.editing_claims)
    seen: list[tuple[str, str, bool]] = []

    def write(folder: Path, annotation: Annotation, revision: int) -> None:
        name = Path(annotation.path).stem
        editor = rights.editor(name)
        seen.append((name, "" if editor is None else editor.host, rights.take(name, this_editor()) is None))
        write_annotation(folder, annotation, revision=revision)

    monkeypatch.setattr(annotation_forms, "write_annotation", write)
    assert run("annotations", "import").exit_code == 0
    assert seen == [("TS_1", socket.gethostname(), True), ("TS_2", socket.gethostname(), True)]
    assert rights.editor("TS_1") is None


def test_a_claim_that_is_lost_is_not_written_under(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command was held up for so long that another has taken the tomogram over."""

    def write(folder: Path, annotation: Annotation, revision: int) -> None:
        write_annotation(folder, annotation, revision=revision)
        for file in project.editing_claims.glob("TS_1.lock*"):
            file.unlink()

    monkeypatch.setattr(annotation_forms, "write_annotation", write)
    result = run("annotations", "import", "TS_1")
    assert result.exit_code == 1 and "The claim on TS_1 was lost" in " ".join(result.stdout.split())
    assert not project.native_annotation("TS_1").exists()


def test_a_mistyped_name_is_one_sentence(project: Project) -> None:
    result = run("annotations", "import", "TS1")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: 'TS1' has no annotation of Ais (.scns) in tomograms (did you mean 'TS_1'?): give tomograms' names"
        " without .mrc.\n"
    )


def test_a_tomogram_without_annotation_is_told_what_it_lacks(project: Project) -> None:
    project.annotation("TS_2").unlink()
    assert run("annotations", "import", "TS_2").stderr == (
        "Error: TS_2 has no annotation of Ais (.scns) in tomograms: save TS_2.scns beside TS_2.mrc.\n"
    )
    project.annotation("TS_1").unlink()
    assert run("annotations", "import").stderr == (
        "Error: There is no annotation of Ais (.scns) in tomograms: save NAME.scns beside NAME.mrc.\n"
    )
    assert run("annotations", "export").stderr == (
        "Error: There is no native annotation in tomograms: draw with 'pom annotate' first, or give 'pom annotations"
        " import' where NAME.scns is there.\n"
    )
