import json
from pathlib import Path

import pandas as pd
import pytest

from pom.errors import PomError
from pom.io.star import read_star_column
from pom.io.summary_files import write_csv
from pom.project.configuration import Configuration
from pom.project.paths import Project
from pom.workflow.subsets import (
    LARGEST_LIST,
    Form,
    Subset,
    export_subset,
    import_names,
    list_subsets,
    remove_subset,
    subset_names,
    write_subset,
)

NAMES = ("TS_001", "TS_002", "TS 3", "TS_004_10.00Apx", "NA")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path, Configuration())
    project.tomogram_dir.mkdir()
    for name in NAMES:
        project.tomogram(name).touch()
    return project


def test_a_list_is_kept_in_its_order_and_without_doubles(project: Project) -> None:
    path = write_subset(project, "Good ones", ["TS_002", "TS_001", "TS_002"])
    assert path.read_text() == "TS_002\nTS_001\n"
    assert subset_names(project, "Good ones") == ("TS_002", "TS_001")
    write_subset(project, "apart", ["gone", "NA", "TS 3"])
    assert subset_names(project, "apart") == ("gone", "NA", "TS 3")
    assert list_subsets(project) == ["apart", "Good ones"]
    remove_subset(project, "apart")
    assert list_subsets(project) == ["Good ones"]


def test_a_tomogram_of_which_only_segmentations_are_here_is_known(project: Project) -> None:
    path = write_subset(project, "a", ["elsewhere"])
    assert import_names(project, path) == Subset((), ("elsewhere",))
    project.records("summary").mkdir(parents=True)
    (project.records("summary") / "elsewhere.json").touch()
    assert import_names(project, path) == Subset(("elsewhere",))


@pytest.mark.parametrize("title", ["", "../a", "a/b", ".a", "a__b", " a", "a\n"])
def test_a_title_that_is_no_file_name_is_refused(project: Project, title: str) -> None:
    with pytest.raises(PomError, match="title of a subset"):
        write_subset(project, title, ["TS_001"])
    with pytest.raises(PomError, match="There is no subset"):
        subset_names(project, title)
    assert not project.subsets.exists()


def test_a_missing_list_is_answered_with_the_nearest(project: Project) -> None:
    write_subset(project, "Mitochondria", [])
    assert subset_names(project, "Mitochondria") == ()
    for ask in (subset_names, remove_subset):
        with pytest.raises(PomError, match=r"no subset 'mitochondria2' .*did you mean 'Mitochondria'"):
            ask(project, "mitochondria2")


@pytest.mark.parametrize("name", ["", "  ", "a\nb"])
def test_a_name_of_no_or_several_lines_is_refused(project: Project, name: str) -> None:
    with pytest.raises(PomError, match="no name of a tomogram"):
        write_subset(project, "a", [name])


PARTICLES = "data_particles\nloop_\n_rlnCoordinateX #1\n_rlnTomoName #2\n" + "".join(
    f"{x} {name}\n" for x, name in enumerate(["TS_002.tomostar", "TS_009", "TS_002.tomostar", "TS_004"])
)


@pytest.mark.parametrize(
    ("file", "text", "names", "unknown"),
    [
        ("a.txt", "# mine\n/data/tomograms/TS_001.mrc\r\nC:\\data\\TS 3.mrc\n\nTS_9.mrc\n", "TS_001 TS·3", "TS_9.mrc"),
        ("a.txt", "TS_001__Vesicle.mrc\nNA\nTS_004.tomostar\n", "TS_001 NA TS_004_10.00Apx", ""),
        ("a.txt", "TS_002_8.50Apx.mrc\nTS_004_10.00Apx.mrc", "TS_002 TS_004_10.00Apx", ""),
        ("a.txt", "TS_001.st.mrc\nTS_002.rec.tomostar\nTS_001__ER.st.mrc", "TS_001 TS_002", ""),
        ("a.star", PARTICLES, "TS_002 TS_004_10.00Apx", "TS_009"),
        ("a.csv", "ER,Tomogram\n1.5,TS_002\n2.5,TS_8\n", "TS_002", "TS_8"),
        ("a.csv", "name;ER\nTS_001;1\n", "TS_001", ""),
        ("a.csv", "TS_001\nTS_002\n", "TS_001 TS_002", ""),
        ("a.tsv", "Tomogram\tER\nTS_001\t1\n", "TS_001", ""),
        ("a.json", json.dumps({"tomos": ["TS_001", "x"]}), "TS_001", "x"),
    ],
)
def test_other_programs_lists_are_read(project: Project, file: str, text: str, names: str, unknown: str) -> None:
    (project.folder / file).write_text(text)
    found = import_names(project, project.folder / file)
    assert found.names == tuple(name.replace("·", " ") for name in names.split())
    assert found.unknown == tuple(unknown.split())


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("a.txt", b"\n# nothing\n", "names no tomogram"),
        ("a.csv", b"", "names no tomogram"),
        ("a.txt", b"\xff\xfe\x00\x80", "is not text"),
        ("a.star", b"data_\nloop_\n_x #1\n1\n", "no column _rlnTomoName"),
        ("a.json", b"{", "has a list 'tomos'"),
    ],
)
def test_a_file_that_is_no_list_is_refused(project: Project, file: str, content: bytes, reason: str) -> None:
    (project.folder / file).write_bytes(content)
    with pytest.raises(PomError, match=reason):
        import_names(project, project.folder / file)
    with pytest.raises(PomError, match="cannot be read"):
        import_names(project, project.folder / "missing.txt")


def test_lists_are_handed_to_other_programs(project: Project) -> None:
    write_subset(project, "a", ["TS_004_10.00Apx", "TS 3"])
    out = project.folder / "out"
    lines = {}
    for form in ("names", "paths", "tomostar"):
        export_subset(project, "a", out, form)
        lines[form] = out.read_text().splitlines()
    assert lines["names"] == ["TS_004_10.00Apx", "TS 3"]
    paths = [str(project.tomogram_dir.absolute() / f"{name}.mrc") for name in lines["names"]]
    assert lines["paths"] == paths
    assert lines["tomostar"] == ["tomostar/TS_004.tomostar", "tomostar/TS 3.tomostar"]
    export_subset(project, "a", out, "star")
    assert read_star_column(out, ["rlnTomoName"]) == lines["names"]
    assert read_star_column(out, ["rlnTomoReconstructedTomogram"]) == paths


def test_what_is_exported_is_imported_again(project: Project) -> None:
    write_subset(project, "a", NAMES)
    for form, file in (
        ("names", "a.txt"),
        ("paths", "a.txt"),
        ("tomostar", "a.txt"),
        ("star", "a.star"),
        ("csv", "a.csv"),
    ):
        export_subset(project, "a", project.folder / file, form)  # type: ignore[arg-type]
        assert import_names(project, project.folder / file) == Subset(NAMES), form


@pytest.mark.parametrize("form", ["names", "paths", "tomostar", "star"])
def test_names_that_end_like_files_are_imported_again(project: Project, form: Form) -> None:
    names = ("TS_1.st", "TS_2.rec", "TS_3.st_8.00Apx", "TS_1", "TS_4.mrc.rec")
    for name in names:
        project.tomogram(name).touch()
    write_subset(project, "a", names)
    path = project.folder / ("a.star" if form == "star" else "a.txt")
    export_subset(project, "a", path, form)
    assert import_names(project, path) == Subset(names)


def test_a_csv_holds_the_rows_of_the_summary(project: Project) -> None:
    table = pd.DataFrame({"Tomogram": ["TS_001", "NA"], "ER": [12.5, 3.0]}).set_index("Tomogram")
    table.to_csv(project.summary_csv)
    write_subset(project, "a", ["NA", "TS_002"])
    export_subset(project, "a", project.folder / "a.csv", "csv")
    assert (project.folder / "a.csv").read_text() == "Tomogram,ER\nNA,3\nTS_002,\n"


def test_a_tomogram_that_only_the_table_has_is_known(project: Project) -> None:
    write_csv(project.summary_csv, pd.DataFrame({"ER": [1.0]}, index=pd.Index(["shown"], name="Tomogram")))
    path = write_subset(project, "a", ["shown", "elsewhere"])
    assert import_names(project, path) == Subset(("shown",), ("elsewhere",))


@pytest.mark.parametrize("ending", [".star", ".txt"])
def test_a_file_that_is_no_list_for_its_size_is_not_read(project: Project, ending: str) -> None:
    path = project.folder / f"a{ending}"
    with path.open("wb") as file:
        file.truncate(LARGEST_LIST + 1)
    with pytest.raises(PomError, match="larger than 64 MiB"):
        import_names(project, path)
