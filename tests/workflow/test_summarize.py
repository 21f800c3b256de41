import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.feature_library import FeatureLibrary, Preset, write_library
from pom.io.summary_files import read_tomogram_summary
from pom.jobs.ledger import Ledger, Record
from pom.measure import composition
from pom.measure import tomogram as measuring
from pom.project.configuration import Configuration
from pom.project.paths import Project
from pom.workflow.atlas import Atlas
from pom.workflow.export import export
from pom.workflow.summarize import Summary
from pom.workflow.summarize import summarize as summarize_project

SHAPE = (10, 8, 8)
FIGURES = ("(um^3)", "components", "confidence")


def summarize(project: Project, **settings: Any) -> Summary:
    return summarize_project(project, **{"processes": 1, **settings})


def make(folder: Path, **settings: Any) -> Project:
    values: dict[str, Any] = {
        "ontologies": ("Void", "_", "ER"),
        "macromolecules": ("Density", "Membrane", "_"),
        "z_margin_summary": 0.2,
        "apix": 10.0,
    }
    return Project(folder, Configuration(**{**values, **settings}))


def write(path: Path, volume: NDArray[np.generic], voxel: float = 20.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with mrcfile.new(path, volume, overwrite=True) as file:
        file.voxel_size = voxel
        file.set_volume()
    return path


def share(percent: int, dtype: type[np.generic] = np.int8, top: float = 127) -> NDArray[np.generic]:
    """A volume of which so many percent are full, in every slice; what is in the margins is nothing like it."""
    volume = np.zeros(SHAPE, dtype)
    volume[:, :, : round(8 * percent / 100)] = top
    volume[:2] = volume[-2:] = top
    return volume


def row(table: pd.DataFrame, name: str, columns: Sequence[str]) -> list[Any]:
    return [table.at[name, column] for column in columns]


def segment(project: Project, name: str, percents: Mapping[str, int]) -> None:
    for feature, percent in percents.items():
        write(project.output(name, feature), share(percent))


def test_tomograms_of_the_test_folder_are_none_of_the_dataset(tmp_path: Path) -> None:
    project = make(tmp_path)
    segment(project, "TS_1", {"Void": 50})
    for name in ("TS_1", "TS_900"):
        write(project.test_tomogram(name), share(0))
        write(project.macromolecule(name, "Membrane"), share(25, np.uint16, 255))
    write(project.tomogram("TS_1"), share(0))
    assert list(summarize(project).table.index) == ["TS_1"]


def test_the_table_has_the_share_of_every_feature(tmp_path: Path) -> None:
    project = make(tmp_path)
    segment(project, "TS_2", {"Void": 50, "ER": 25, "Unknown": 25})
    segment(project, "TS_1", {"Void": 100, "ER": 0, "Unknown": 0})
    write(project.macromolecule("TS_1", "Membrane"), share(25, np.uint16, 255), voxel=10.0)
    # None of these is a feature of the project.
    write(project.output("TS_1", "Golgi"), share(25))
    write(project.output("TS_1", "_"), share(25))
    write(project.macromolecule("TS_1", "Density"), share(25))
    write(project.output_dir / "TS_1.mrc", share(25))
    summary = summarize(project)
    assert (summary.measured, summary.unchanged, summary.placeholders, summary.failed) == (7, 0, (), {})
    table = summary.table
    assert list(table.index) == ["TS_1", "TS_2"]
    shares = [column for column in map(str, table) if column.rpartition(" ")[2] not in FIGURES]
    assert shares == ["Void", "ER", "Unknown", "Membrane", "Unlike", "Unlike training data"]
    assert row(table, "TS_2", ["Void", "ER", "Unknown"]) == [50.0, 25.0, 25.0]
    assert row(table, "TS_1", ["Void", "ER", "Unknown", "Membrane"]) == [100.0, 0.0, 0.0, 25.0]
    # 6 slices of 8 x 2 voxels of (2 nm)^3
    assert table.loc["TS_2", "ER volume (um^3)"] == pytest.approx(96 * 8e-9)
    assert table.loc["TS_1", "Membrane volume (um^3)"] == pytest.approx(96 * 1e-9)
    assert table["ER components"].tolist() == [0, 1]
    assert table["ER confidence"].fillna(-1).tolist() == [-1, 1.0]
    assert table["Membrane"].isna().tolist() == [False, True]


def test_published_programs_read_the_workbook(tmp_path: Path) -> None:
    project = make(tmp_path)
    for name in ("=1+1", "TS_2", "TS_3"):
        segment(project, name, {"Void": 50, "ER": 25, "Unknown": 25})
    project.output("TS_3", "ER").unlink()
    summarize(project)
    whole = pd.read_excel(project.summary, index_col=0)
    assert list(whole.columns) == ["Void", "ER", "Unknown"]
    assert whole.index.name == "Tomogram"
    table = whole.dropna()
    assert list(table.index) == ["=1+1", "TS_2"]
    assert table.T["TS_2"].sort_values(ascending=False).index.tolist()[0] == "Void"
    sheets = pd.read_excel(project.summary, index_col=0, sheet_name=None)
    assert list(sheets) == ["Summary", "Volume um3", "Components", "Confidence", "Tomograms"]
    assert sheets["Volume um3"].loc["TS_2", "ER"] == pytest.approx(96 * 8e-9)
    assert sheets["Components"].loc["TS_2", "Void"] == 1
    assert sheets["Confidence"].loc["TS_2", "Void"] == 1.0
    assert sheets["Tomograms"].loc["TS_3", "Without"] == "ER"


def test_the_three_files_hold_one_table(tmp_path: Path) -> None:
    project = make(tmp_path)
    segment(project, "001", {"Void": 50, "ER": 25, "Unknown": 25})
    segment(project, "NA", {"Void": 50, "Unknown": 25})
    table = summarize(project).table
    for path in (project.summary_csv, project.summary):
        project.summary_parquet.unlink(missing_ok=True)
        read = Atlas(project).table()
        columns = list(table) if path.suffix == ".csv" else ["Void", "ER", "Unknown"]
        assert list(read.index) == ["001", "NA"]
        pd.testing.assert_frame_equal(read, table[columns], rtol=1e-5, check_index_type=False)
        path.unlink()
    text = pd.DataFrame(table)
    assert not len(Atlas(project).table())
    summarize(project)
    pd.testing.assert_frame_equal(Atlas(project).table(), text, check_index_type=False)
    assert project.summary_csv.read_text().splitlines()[2].startswith("NA,50,")


@pytest.mark.parametrize(("dtype", "top"), [(np.int8, 127), (np.uint8, 255), (np.uint16, 255), (np.float32, 1.0)])
def test_every_type_that_a_published_folder_has(tmp_path: Path, dtype: type[np.generic], top: float) -> None:
    project = make(tmp_path)
    for feature in ("Void", "Unknown"):
        write(project.output("a", feature), share(25, dtype, top))
    assert row(summarize(project).table, "a", ["Void", "Unknown"]) == pytest.approx([25.0, 25.0])


def test_a_placeholder_is_not_there_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    project = make(tmp_path)
    segment(project, "a", {"Void": 50, "Unknown": 25})
    write(project.output("a", "ER"), np.full((10, 10, 10), -1, np.float32))
    with caplog.at_level(logging.WARNING):
        summary = summarize(project)
    assert summary.placeholders == ("a__ER",)
    assert "ER" not in summary.table
    assert summary.failed == {}
    assert "1 file is what the published Pom puts in an output's place, and taken as not there: a__ER." in caplog.text
    # Once the output is there, it is measured.
    segment(project, "a", {"ER": 25})
    assert summarize(project).measured == 1


def test_a_damaged_file_stops_nothing_else(tmp_path: Path) -> None:
    project = make(tmp_path)
    for name in ("a", "b"):
        segment(project, name, {"Void": 50, "ER": 25, "Unknown": 25})
    path = project.output("a", "ER")
    path.write_bytes(path.read_bytes()[:-1])
    write(project.output("b", "Void"), np.full(SHAPE, np.nan, np.float32))
    project.output("b", "Unknown").unlink()
    project.output("b", "Unknown").symlink_to("nowhere")
    summary = summarize(project)
    assert list(summary.failed) == ["a__ER", "b__Unknown", "b__Void"]
    assert "cut short: 1 bytes" in summary.failed["a__ER"]
    assert "no file" in summary.failed["b__Unknown"]
    assert "NaN" in summary.failed["b__Void"]
    assert summary.measured == 3
    assert summary.table[["Void", "ER", "Unknown"]].isna().to_numpy().tolist() == [
        [False, True, False],
        [True, False, True],
    ]
    segment(project, "a", {"ER": 50})
    again = summarize(project)
    assert list(again.failed) == ["b__Unknown", "b__Void"]
    assert again.table.loc["a", "ER"] == 50.0


def test_only_what_changed_is_measured_again(tmp_path: Path) -> None:
    project = make(tmp_path)
    for name in ("a", "b"):
        segment(project, name, {"Void": 50, "ER": 25, "Unknown": 25})
    summarize(project)
    assert (summarize(project).measured, summarize(project).unchanged) == (0, 6)
    status = project.output("a", "ER").stat()
    segment(project, "a", {"ER": 75})
    summary = summarize(project)
    assert (summary.measured, summary.unchanged, summary.table.loc["a", "ER"]) == (1, 5, 75.0)
    # Of the same size and as old as before is taken for the same.
    segment(project, "a", {"ER": 25})
    os.utime(project.output("a", "ER"), ns=(1, status.st_mtime_ns + 1))
    assert summarize(project).measured == 1
    assert summarize(project, overwrite=True).measured == 6


def test_other_settings_measure_again(tmp_path: Path) -> None:
    project = make(tmp_path)
    segment(project, "a", {"Void": 50, "ER": 25, "Unknown": 25})
    write(project.output("a", "ER"), np.full(SHAPE, 32, np.int8))
    assert summarize(project).table.loc["a", "ER components"] == 0
    write_library(project.feature_library, FeatureLibrary((Preset(title="ER", colour=(1, 0, 0), level=64, dust=0.0),)))
    summary = summarize(project)
    assert (summary.measured, summary.table.loc["a", "ER components"]) == (1, 1)
    # Another colour is no other setting.
    write_library(project.feature_library, FeatureLibrary((Preset(title="ER", colour=(0, 0, 1), level=64, dust=0.0),)))
    assert summarize(project).measured == 0
    wider = Project(tmp_path, project.configuration.model_copy(update={"z_margin_summary": 0.0}))
    summary = summarize(wider)
    assert (summary.measured, summary.table.loc["a", "Void"]) == (3, 70.0)


def test_a_removed_output_leaves_the_table(tmp_path: Path) -> None:
    project = make(tmp_path)
    for name in ("a", "b"):
        segment(project, name, {"Void": 50, "ER": 25})
    summarize(project)
    project.output("a", "ER").unlink()
    for feature in ("Void", "ER"):
        project.output("b", feature).unlink()
    table = summarize(project).table
    assert list(table.index) == ["a"]
    assert "ER" not in table


def test_one_feature_is_measured_and_the_others_stay(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    project = make(tmp_path)
    segment(project, "a", {"Void": 50, "ER": 25, "Unknown": 25})
    write(project.macromolecule("a", "Membrane"), share(25, np.uint16, 255))
    assert summarize(project, target="Membrane").measured == 1
    assert list(summarize(project, target="ER").table.filter(regex="^[A-Za-z]+$")) == ["ER", "Membrane", "Unlike"]
    assert summarize(project, skip_macromolecules=True).measured == 2
    segment(project, "a", {"ER": 75, "Void": 75})
    with caplog.at_level(logging.WARNING):
        summary = summarize(project, target="ER")
    assert row(summary.table, "a", ["Void", "ER", "Unknown", "Membrane"]) == [50.0, 75.0, 25.0, 25.0]
    assert "1 figure is older than the segmentation" in caplog.text
    with pytest.raises(PomError, match=r"no feature 'membrane' \(did you mean 'Membrane'\?\).*Void, ER, Unknown, Mem"):
        summarize(project, target="membrane")


def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make(tmp_path)
    for name in ("a", "b", "c"):
        segment(project, name, {"Void": 50, "ER": 25, "Unknown": 25})
    measure = composition.measure
    opened: list[Path] = []

    def stop_at_b(reader: Any, *args: Any, **settings: Any) -> Any:
        opened.append(reader.header.path)
        if "b__ER" in str(reader.header.path) and len(opened) < 6:
            raise KeyboardInterrupt
        return measure(reader, *args, **settings)

    monkeypatch.setattr(measuring, "measure", stop_at_b)
    with pytest.raises(KeyboardInterrupt):
        summarize(project)
    assert not project.summary.exists()
    assert read_tomogram_summary(project.records("summary") / "a.json") is not None
    opened += [tmp_path] * 6
    summary = summarize(project)
    assert (summary.measured, summary.unchanged) == (6, 3)
    assert len(summary.table) == 3


def test_several_processes_measure_the_same(tmp_path: Path) -> None:
    project = make(tmp_path)
    for number in range(3):
        segment(project, f"TS_{number}", {"Void": 50, "ER": 25 * number, "Unknown": 25})
    alone = summarize(project).table
    several = summarize(project, overwrite=True, processes=2)
    assert several.measured == 9
    pd.testing.assert_frame_equal(several.table, alone)


def test_what_is_unlike_the_training_data_is_marked(tmp_path: Path) -> None:
    project = make(tmp_path)
    ledger = Ledger(project.jobs("shared"), project.records("shared"))
    for name, unlike in (("a", 0.5), ("b", 1.5), ("c", None), ("d", None)):
        segment(project, name, {"Void": 50})
        if name != "d":
            ledger.write_record(
                Record(
                    tomogram=name,
                    step="shared",
                    network="0123456789abcdef",
                    configuration="",
                    inputs={},
                    version="1",
                    host="here",
                    device="cpu",
                    started=0.0,
                    seconds=60.0,
                    outputs=(),
                    unlike=unlike,
                )
            )
    table = summarize(project).table
    assert table["Unlike"].fillna(-1).tolist() == [0.5, 1.5, -1, -1]
    # Of the others nothing is known.
    assert table["Unlike training data"].tolist() == [False, True, pd.NA, pd.NA]
    sheet = pd.read_excel(project.summary, index_col=0, sheet_name="Tomograms")
    assert row(sheet, "b", ["Segmented", "Network", "Host"]) == ["1970-01-01 00:01", "0123456789ab", "here"]
    assert sheet["Unlike training data"].isna().tolist() == [False, False, True, True]
    assert Atlas(project).unusual()[0][0] == "b"


def test_a_damaged_record_is_measured_again(tmp_path: Path) -> None:
    project = make(tmp_path)
    segment(project, "a", {"Void": 50})
    summarize(project)
    (project.records("summary") / "a.json").write_text("{")
    assert summarize(project).measured == 1


def test_nothing_to_summarise_says_what_to_do(tmp_path: Path) -> None:
    project = make(tmp_path)
    with pytest.raises(PomError, match=r"nothing to summarise.*Void, ER, Unknown, Membrane.*'pom shared process'"):
        summarize(project)
    with pytest.raises(PomError, match=r"project_configuration\.json lists no ontologies: write the names"):
        summarize(make(tmp_path, ontologies=()))
    segment(project, "a", {"Void": 50})
    shutil.copy(__file__, project.output("a", "Void"))
    summary = summarize(project)
    assert (len(summary.table), list(summary.failed)) == (0, ["a__Void"])
    assert not project.summary.exists()


def test_a_feature_must_not_bear_the_name_of_another_column(tmp_path: Path) -> None:
    with pytest.raises(PomError, match="'Tomogram', which is another column"):
        summarize(make(tmp_path, ontologies=("Tomogram",)))


def test_of_two_features_of_one_name_the_ontology_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    project = make(tmp_path, ontologies=("Membrane",))
    segment(project, "a", {"Membrane": 50})
    write(project.macromolecule("a", "Membrane"), share(25))
    assert summarize(project).table.loc["a", "Membrane"] == 50.0
    assert "Membrane: both ontology and macromolecule" in caplog.text


def test_a_killed_run_loses_only_what_it_was_at(tmp_path: Path) -> None:
    project = make(tmp_path)
    for name in ("a", "b", "c"):
        segment(project, name, {"Void": 50, "ER": 25, "Unknown": 25})
    project.output("b", "ER").unlink()
    (tmp_path / "project_configuration.json").write_text(json.dumps(project.configuration.model_dump(mode="json")))
    program = "import os; from pathlib import Path; from pom.measure import tomogram; measure = tomogram.measure\n"
    program += "def kill(reader, *args, **settings):\n"
    program += "    if 'b__Void' in str(reader.header.path): os.kill(os.getpid(), 9)\n"
    program += "    return measure(reader, *args, **settings)\n"
    program += "tomogram.measure = kill\n"
    program += "from pom.cli.main import app; app(['summarize', '-p', '1'])\n"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in sorted(project.records("summary").iterdir())] == ["a.json"]
    summary = summarize(project)
    assert (summary.measured, summary.unchanged, list(summary.table.index)) == (5, 3, ["a", "b", "c"])


def test_outputs_in_an_ome_zarr_are_measured_too(tmp_path: Path) -> None:
    project = make(tmp_path)
    write(project.tomogram("a"), np.zeros((20, 16, 16), np.float32), voxel=10.0)
    segment(project, "a", {"Void": 50, "ER": 25, "Unknown": 25})
    before = summarize(project).table
    export(project, probabilities=True)
    for feature in ("Void", "ER", "Unknown"):
        project.output("a", feature).unlink()
    after = summarize(project)
    # Another file, so that it is measured again, and only once.
    assert after.measured == 3
    pd.testing.assert_frame_equal(after.table, before)
    assert summarize(project).unchanged == 3


def test_a_copy_among_the_test_tomograms_drops_no_row(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    project = make(tmp_path)
    segment(project, "TS_1", {"Void": 50})
    for name in ("TS_1", "TS_900"):
        write(project.test_tomogram(name), share(0))
        write(project.macromolecule(name, "Membrane"), share(25, np.uint16, 255))
    (project.test_dir / "TS_901.rec").touch()
    assert list(summarize(project).table.index) == ["TS_1"]
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


def test_a_damaged_store_is_not_measured_and_said(tmp_path: Path) -> None:
    project = make(tmp_path)
    for name in ("TS_1", "TS_2"):
        write(project.tomogram(name), np.zeros((20, 16, 16), np.float32), voxel=10.0)
        segment(project, name, {"Void": 50, "ER": 25, "Unknown": 25})
    export(project, probabilities=True)
    for file in project.output_dir.glob("*.mrc"):
        file.unlink()
    assert len(summarize(project).table) == 2
    (project.ome_zarr("TS_1") / "probabilities" / "zarr.json").write_text('{"zarr_fo')
    summary = summarize(project)
    assert list(summary.table.index) == ["TS_2"]
    assert list(summary.failed) == ["TS_1.ome.zarr"]
    assert (summary.measured, summary.unchanged) == (0, 3)
    shutil.rmtree(project.ome_zarr("TS_2"))
    assert list(summarize(project).failed) == ["TS_1.ome.zarr"]


def test_two_runs_at_once_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = make(tmp_path)
    segment(project, "a", {"Void": 50, "ER": 25, "Unknown": 25})
    segment(project, "b", {"Void": 50, "ER": 25, "Unknown": 25})
    summarize(project, target="Unknown")
    measure = composition.measure

    def measure_while_another_run_does(reader: Any, *args: Any, **settings: Any) -> Any:
        monkeypatch.setattr(measuring, "measure", measure)
        summarize(project, target="ER")
        return measure(reader, *args, **settings)

    monkeypatch.setattr(measuring, "measure", measure_while_another_run_does)
    table = summarize(project, target="Void").table
    assert table[["Void", "ER", "Unknown"]].to_numpy().tolist() == [[50, 25, 25]] * 2
    assert summarize(project).measured == 0


@pytest.mark.parametrize(
    ("name", "shown", "fault"),
    [("TS\x07x", r"TS\x07x", "control characters: rename it"), ("TS_\udcff", r"TS_\xff", "must be UTF-8: rename it")],
)
def test_a_name_that_no_table_takes_stops_nothing_else(tmp_path: Path, name: str, shown: str, fault: str) -> None:
    try:
        (tmp_path / name).touch()
    except OSError:
        pytest.skip("this disk takes no such name")
    project = make(tmp_path)
    segment(project, "a", {"Void": 50})
    segment(project, name, {"Void": 50})
    summary = summarize(project)
    assert list(summary.failed) == [f"{shown}__Void"]
    assert fault in next(iter(summary.failed.values()))
    assert (list(summary.table.index), summary.measured) == (["a"], 1)
    assert project.summary.exists()


def test_a_feature_with_the_name_of_another_column_is_refused(tmp_path: Path) -> None:
    project = make(tmp_path, ontologies=("ER", "ER components"))
    segment(project, "a", {"ER": 50, "ER components": 25})
    with pytest.raises(PomError, match="'ER components', which is another column"):
        summarize(project)
    # Without an ER it is a name like others.
    project = make(tmp_path, ontologies=("ER components",))
    assert summarize(project).table.at["a", "ER components"] == 25


def test_a_workbook_that_cannot_be_written_leaves_the_other_forms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make(tmp_path)
    segment(project, "a", {"Void": 50})
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(PomError, match="temporary"):
        summarize(project)
    assert list(Atlas(project).table().index) == ["a"]
    assert project.summary_csv.exists()
