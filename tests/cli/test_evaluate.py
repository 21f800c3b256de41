"""What ``pom evaluate`` shows of figures made by hand."""

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from numpy.typing import NDArray
from typer.testing import CliRunner

from pom.cli.evaluate import report_evaluation
from pom.cli.main import app
from pom.io.mrc import MrcWriter
from pom.measure.confusion import Confusion
from pom.measure.surface import Spread, SurfaceDistances
from pom.workflow.evaluation import Evaluation, Judged

run = CliRunner().invoke
NAMES = ("Vesicle", "[red] membrane")


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: one segmented tomogram, half of it Vesicle, and its truth, three quarters of it Vesicle."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "project_configuration.json").write_text(json.dumps({"ontologies": NAMES}))
    columns = np.broadcast_to(np.arange(8), (2, 8, 8))
    write(tmp_path / "tomograms" / "TS_1.mrc", np.zeros((2, 8, 8), np.float32))
    for name, mask in {"Vesicle": columns < 4, "[red] membrane": columns < 0, "Unknown": columns >= 4}.items():
        write(tmp_path / "output" / f"TS_1__{name}.mrc", (127 * mask).astype(np.int8))
    write(tmp_path / "truth" / "TS_1__labels.mrc", (columns < 6).astype(np.int8))
    return tmp_path


def write(path: Path, volume: NDArray[Any]) -> None:
    depth, height, width = volume.shape
    with MrcWriter(path, (depth, height, width), volume.dtype, (20.0, 20.0, 20.0)) as writer:
        writer.write(volume)


def lines(text: str) -> list[str]:
    """Without empty lines and rules."""
    return [line.rstrip() for line in text.splitlines() if line.strip(" ─")]


def cells(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


def made(
    tables: Mapping[str, Sequence[Sequence[int]]], names: Sequence[str] = NAMES, truth: Path | None = Path("truth"),
    **changes: Any,
) -> Evaluation:  # fmt: skip
    """An evaluation in which all voxels are known."""
    spread = Spread(np.array([4.0, 20.0]), np.array([3, 1]))
    judged = {
        name: Judged(
            Confusion(np.array(table, np.int64), np.array(table, np.int64).sum(axis=0)),
            {names[0]: SurfaceDistances(spread, spread)} if truth else {},
        )
        for name, table in tables.items()
    }
    values: dict[str, Any] = {"learnt_from": [], "outdated": [], "left_out": {}, "failed": {}, "network": None}
    return Evaluation((*names, "Unknown"), truth, tomograms=judged, folder=Path("evaluation"), **(values | changes))


def shown(evaluation: Evaluation, capsys: pytest.CaptureFixture[str]) -> list[str]:
    report_evaluation(evaluation)
    captured = capsys.readouterr()
    assert captured.err == ""
    found = lines(captured.out)
    assert max(map(len, found)) <= 80
    return found


def test_help_fits_80_columns_and_knows_both_styles() -> None:
    text = run(app, ["evaluate", "--help"]).stdout
    assert max(map(len, text.splitlines())) <= 80
    assert "-truth, --truth FOLDER" in text
    assert "NAME__labels.mrc" in text
    listed = run(app, ["--help"]).stdout.split("Commands:")[1]
    assert listed.index("shared") < listed.index("evaluate") < listed.index("status")


def test_from_volumes_to_tables(project: Path) -> None:
    for option in ("-truth", "--truth"):
        result = run(app, ["evaluate", option, "truth"])
        assert (result.exit_code, result.stderr) == (0, "Evaluated tomograms: 1 of 1\n")
        found = lines(result.stdout)
        assert found[0] == "Judged by the volumes in truth, 1 tomogram: TS_1."
        assert cells(found[1]) == ["Ontology", "Dice", "Precision", "Recall", "Mean nm", "95 % nm"]
        assert cells(found[2]) == ["Vesicle", "0.800", "1.000", "0.667", "4.0", "4.0"]
        assert cells(found[3]) == ["[red] membrane", "-", "-", "-", "-", "-"]
        assert cells(found[4]) == ["Mean", "0.800", "1.000", "0.667", "-", "-"]
        assert found[5] == "nm: how far the surfaces lie apart, on average and for 95 % of them."
        assert cells(found[6]) == ["Is, named %", "Vesicle", "[red] membrane", "Unknown"]
        assert cells(found[7]) == ["Vesicle", "66.7", "0.0", "33.3"]
        assert cells(found[8]) == ["Unknown", "0.0", "0.0", "100.0"]
        assert found[9:] == ["Written: evaluation/evaluation.json and evaluation.png"]
    document = json.loads((project / "evaluation" / "evaluation.json").read_text())
    assert document["truth"] == str(project / "truth")
    assert document["together"]["figures"]["Vesicle"]["missed"] == 32
    assert {path.name for path in (project / "evaluation").iterdir()} == {"evaluation.json", "evaluation.png"}


def test_a_tomogram_that_cannot_be_judged_is_listed_and_status_1(project: Path) -> None:
    write(project / "tomograms" / "TS_2.mrc", np.zeros((2, 8, 8), np.float32))
    for output in (project / "output").glob("TS_1__*"):
        (project / "output" / output.name.replace("TS_1", "TS_2")).write_bytes(output.read_bytes())
    write(project / "truth" / "TS_2__labels.mrc", np.full((2, 8, 8), 9, np.int8))
    result = run(app, ["evaluate", "--truth", "truth"])
    assert result.exit_code == 1
    assert "Warning: TS_2 cannot be judged: truth/TS_2__labels.mrc holds the label 9" in result.stderr
    found = lines(result.stdout)
    heading = next(number for number, line in enumerate(found) if line.startswith("Not judged"))
    assert found[heading - 1].startswith("Written: ")
    assert found[heading + 1].startswith("TS_2        truth/TS_2__labels.mrc holds the label 9")


def test_without_anything_to_judge_by(project: Path) -> None:
    result = run(app, ["evaluate"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: There is no trained network in models/joint; run 'pom shared train' first.\n"
    result = run(app, ["evaluate", "--truth", "nowhere"])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: There is no folder nowhere: give --truth")
    assert not (project / "evaluation").exists()


def test_outside_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(app, ["evaluate"])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: There is no project_configuration.json in {tmp_path}")
    assert list(tmp_path.iterdir()) == []


def test_several_tomograms(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = [[8, 0, 2], [0, 0, 0], [0, 0, 9]], [[2, 2, 0], [0, 4, 0], [0, 0, 9]]
    found = shown(made({"TS_1": first, "TS_2": second}), capsys)
    assert found[0] == "Judged by the volumes in truth, 2 tomograms: TS_1, TS_2."
    assert cells(found[2]) == ["Vesicle", "0.833", "1.000", "0.714", "8.0", "20.0"]
    assert cells(found[6]) == ["Dice", "Vesicle", "[red] membrane", "Mean"]
    assert cells(found[7]) == ["TS_1", "0.889", "-", "0.889"]
    assert cells(found[8]) == ["TS_2", "0.667", "0.800", "0.733"]
    assert cells(found[10]) == ["Vesicle", "71.4", "14.3", "14.3"]


def test_annotation_has_no_surfaces(capsys: pytest.CaptureFixture[str]) -> None:
    evaluation = made({"TS_1": [[8, 0, 2], [0, 4, 0], [0, 0, 0]]}, truth=None)
    found = shown(evaluation, capsys)
    assert found[0] == "Judged by annotation that the network did not learn from, 1 tomogram: TS_1."
    assert cells(found[1]) == ["Ontology", "Dice", "Precision", "Recall"]
    assert cells(found[5]) == ["Drawn, named %", "Vesicle", "[red] membrane", "Unknown"]
    assert [cells(line)[0] for line in found[6:8]] == ["Vesicle", "[red] membrane"]
    evaluation = made({"TS_1": [[8, 0, 2], [0, 4, 0], [0, 0, 0]]}, truth=None, learnt_from=["TS_1"])
    assert shown(evaluation, capsys)[0] == "Judged by annotation that the network learnt from, 1 tomogram: TS_1."


def test_twenty_ontologies_stay_within_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"Ontology number {number}" for number in range(20)]
    table = 97 * np.eye(21, dtype=np.int64)
    table[0, [3, 20, 7]] = 2, 1, 0
    table[5, 5] = 0
    found = shown(made({"TS_1": table.tolist(), "TS_2": table.tolist()}, names), capsys)
    assert cells(found[24]) == ["Dice", "Mean", "Lowest"]
    assert cells(found[25])[:2] == ["TS_1", "0.999"]
    assert "Ontology number 3 0.990" in " ".join(cells(found[25])[2:])
    rows = {cells(line)[0]: cells(line)[1:] for line in found}
    assert rows["Is"] == ["Right %", "Taken for, %"]
    heading = next(number for number, line in enumerate(found) if line.startswith("Is "))
    assert cells(found[heading + 1]) == ["Ontology number 0", "97.0", "Ontology number 3 2.0, Unknown 1.0"]
    assert cells(found[heading + 2]) == ["Ontology number 1", "100.0", "-"]
    assert not any(line.startswith("Ontology number 5 ") for line in found[heading:])


def test_failures_end_with_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    evaluation = made({"TS_1": [[8, 0, 2], [0, 4, 0], [0, 0, 1]]}, failed={"TS_2": "It is broken."})
    with pytest.raises(typer.Exit) as exit_status:
        report_evaluation(evaluation)
    assert exit_status.value.exit_code == 1
    assert cells(lines(capsys.readouterr().out)[-1]) == ["TS_2", "It is broken."]


def test_torch_is_not_needed(project: Path) -> None:
    code = (
        "import sys\nfrom pom.cli.main import app\napp(['evaluate', '--truth', 'truth'], standalone_mode=False)\n"
        "print(sorted({'torch', 'lightning'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
