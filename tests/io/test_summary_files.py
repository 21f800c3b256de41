import os
import tempfile
from pathlib import Path

import pandas as pd
import pytest

from pom.errors import PomError
from pom.io.summary_files import (
    Figures,
    Measurement,
    Settings,
    TomogramSummary,
    percent_columns,
    read_table,
    read_tomogram_summary,
    write_csv,
    write_parquet,
    write_tomogram_summary,
    write_workbook,
)


def table() -> pd.DataFrame:
    columns = {
        "ER": [12.5, None, 1.0],
        "ER components": [3.0, None, 0.0],
        "Unlike": [None, 1.5, 0.5],
        "Unlike training data": pd.array([None, True, False], "boolean"),
    }
    return pd.DataFrame(columns, index=pd.Index(["007", "NA", "TS"], name="Tomogram"))


def test_what_was_measured_comes_back(tmp_path: Path) -> None:
    settings = Settings(level=128, dust=1.5, margin=0.3, voxel_size=(10, 10, 10))
    figures = Figures(percent=1 / 3, volume=1e-5, components=2, confidence=None)
    found = Measurement(bytes=3, modified_ns=1795412161042496210, settings=settings, figures=figures)
    summary = TomogramSummary(tomogram="TS 1", features={"ER": found})
    write_tomogram_summary(tmp_path / "TS 1.json", summary)
    assert read_tomogram_summary(tmp_path / "TS 1.json") == summary
    assert read_tomogram_summary(tmp_path / "TS 2.json") is None
    (tmp_path / "TS 2.json").write_text('{"tomogram": "TS 2"}')
    assert read_tomogram_summary(tmp_path / "TS 2.json") is None


def test_shares_are_told_from_what_belongs_to_them() -> None:
    columns = ["ER", "ER volume (um^3)", "ER confidence", "Golgi components", "Unlike", "Unlike training data"]
    # An ontology may be called so.
    assert percent_columns(columns) == ("ER", "Golgi components")


@pytest.mark.parametrize("suffix", ["parquet", "csv", "xlsx"])
def test_every_form_is_read_again(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"summary.{suffix}"
    if suffix == "parquet":
        write_parquet(path, table())
    elif suffix == "csv":
        write_csv(path, table())
    else:
        write_workbook(path, {"Summary": table()})
    found = read_table([tmp_path / "missing.parquet", path])
    assert found is not None
    pd.testing.assert_frame_equal(found, table(), check_index_type=False)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "xlsx"])
def test_in_a_table_of_an_earlier_version_nothing_known_is_not_alike(tmp_path: Path, suffix: str) -> None:
    path, earlier = tmp_path / f"summary.{suffix}", table().assign(**{"Unlike training data": [False, True, False]})
    if suffix == "parquet":
        write_parquet(path, earlier)
    elif suffix == "csv":
        write_csv(path, earlier)
    else:
        write_workbook(path, {"Summary": earlier})
    found = read_table([path])
    assert found is not None
    pd.testing.assert_frame_equal(found, table(), check_index_type=False)


def test_a_flag_without_its_figure_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "summary.csv"
    path.write_text("Tomogram,Unlike training data\na,True\nb,False\nc,\n")
    found = read_table([path])
    assert found is not None
    assert found["Unlike training data"].tolist() == [True, False, pd.NA]


def test_what_is_not_known_is_empty_in_the_text(tmp_path: Path) -> None:
    write_csv(tmp_path / "summary.csv", table())
    lines = (tmp_path / "summary.csv").read_text().splitlines()
    assert lines[1:] == ["007,12.5,3,,", "NA,,,1.5,True", "TS,1,0,0.5,False"]


def test_nothing_and_nonsense(tmp_path: Path) -> None:
    assert read_table([tmp_path / "summary.csv"]) is None
    for suffix in ("parquet", "xlsx", "csv"):
        path = tmp_path / f"summary.{suffix}"
        path.write_bytes(b"\xff\x00 nonsense")
        with pytest.raises(PomError, match="cannot be read"):
            read_table([path])


def test_a_table_as_others_leave_it(tmp_path: Path) -> None:
    path = tmp_path / "summary.csv"
    path.write_text("Name,ER,Note,ER\n001,5,x,\n002,-,y,7\n001,6,z,\n")
    found = read_table([path])
    assert found is not None
    assert (found.index.name, list(found.index)) == ("Tomogram", ["002", "001"])
    assert found["ER"].fillna(-1).tolist() == [-1, 6]


def test_without_a_temporary_folder_the_workbook_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.xlsx"
    write_workbook(path, {"Summary": table()})
    before = path.read_bytes()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(PomError, match=r"summary\.xlsx was not written \(No such file.*temporary one, .*gone, or name"):
        write_workbook(path, {"Summary": table()})
    assert [file.name for file in tmp_path.iterdir()] == ["summary.xlsx"]
    assert path.read_bytes() == before


def test_a_newer_workbook_of_the_published_program_counts(tmp_path: Path) -> None:
    parquet, workbook = paths = tmp_path / "summary.parquet", tmp_path / "summary.xlsx"
    write_parquet(parquet, table())
    shares = table()[["ER"]]
    (shares * 2).to_excel(workbook)
    os.utime(parquet, ns=(1, 1))
    found = read_table(paths)
    assert found is not None
    assert found.to_dict("list")["ER"][0] == 25.0
    os.utime(workbook, ns=(0, 0))
    found = read_table(paths)
    assert found is not None
    assert found.at["007", "ER"] == 12.5
    # One that Pom has written and a person has saved again holds no more than the table.
    write_workbook(workbook, {"Summary": shares * 2, "Components": shares})
    found = read_table(paths)
    assert found is not None
    assert found.at["007", "ER"] == 12.5
    workbook.write_bytes(b"damaged")
    assert read_table(paths) is not None
