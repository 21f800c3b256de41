import os
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import pytest
from starlette.datastructures import QueryParams

from pom.errors import PomError
from pom.project.configuration import Configuration
from pom.project.paths import Project
from pom.workflow.atlas import Atlas, Query
from pom.workflow.subsets import write_subset

NAMES = ("a_1", "a_2", "B_3", "B_4", "c_5")


def make(folder: Path, **columns: Any) -> Atlas:
    values = {
        "ER": [10.0, 20.0, 30.0, np.nan, 0.0],
        "Golgi": [40.0, 20.0, 1.0, 2.0, 0.0],
        "Unknown": [50.0, 60.0, 69.0, 98.0, 100.0],
        "Membrane": [99.0, 98.0, 97.0, 96.0, 95.0],
        "ER components": [1.0, 2.0, 3.0, np.nan, 0.0],
        "Unlike": [0.5, 0.6, 1.2, np.nan, 3.0],
        "Unlike training data": [False, False, True, False, True],
        **columns,
    }
    configuration = Configuration(
        ontologies=("ER", "Golgi"), macromolecules=("Density", "Membrane"), soft_ignore_in_summary=("Golgi",)
    )
    project = Project(folder, configuration)
    write(project, pd.DataFrame(values, index=pd.Index(NAMES, name="Tomogram")))
    return Atlas(project)


def write(project: Project, table: pd.DataFrame) -> None:
    table.to_parquet(project.summary_parquet)


def test_features_are_the_columns_in_percent(tmp_path: Path) -> None:
    atlas = make(tmp_path)
    assert atlas.features() == ("ER", "Golgi", "Unknown", "Membrane")
    # By name; upper case comes first.
    assert list(atlas.table().index) == ["B_3", "B_4", "a_1", "a_2", "c_5"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(), "B_3 B_4 a_1 a_2 c_5"),
        (Query(descending=True), "c_5 a_2 a_1 B_4 B_3"),
        (Query(sort="Tomogram", descending=True), "c_5 a_2 a_1 B_4 B_3"),
        (Query(text="b"), "B_3 B_4"),
        (Query(text="_ 4"), "B_4"),
        (Query(sort="ER"), "c_5 a_1 a_2 B_3 B_4"),
        (Query(sort="ER", descending=True), "B_3 a_2 a_1 c_5 B_4"),
        (Query(ranges={"ER": (10, 20)}), "a_1 a_2"),
        (Query(ranges={"ER": (None, 15)}), "a_1 c_5"),
        (Query(ranges={"ER": (15, None), "Golgi": (5, None)}), "a_2"),
        (Query(ranges={"Unlike training data": (1, 1)}), "B_3 c_5"),
        (Query(ranges={"gone": (1, 1)}, sort="gone"), "B_3 B_4 a_1 a_2 c_5"),
        (Query(subset="some", sort="ER"), "c_5 a_2 B_4"),
    ],
)
def test_select(tmp_path: Path, query: Query, expected: str) -> None:
    atlas = make(tmp_path)
    write_subset(atlas._project, "some", ["c_5", "a_2", "elsewhere", "B_4"])
    assert atlas.select(query) == expected.split()


def test_a_subset_that_is_gone_is_said(tmp_path: Path) -> None:
    atlas = make(tmp_path)
    with pytest.raises(PomError, match="no subset 'some'"):
        atlas.select(Query(subset="some"))
    found = atlas.query({"subset": "some", "sort": "gone", "q": "a"})
    assert (found, found.dropped) == (
        Query(text="a"),
        ("There is no column 'gone'.", "There is no subset 'some'."),
    )


@pytest.mark.parametrize(
    "query",
    [
        Query(),
        Query("x y", {"ER: rough": (0.1, None), "Golgi": (-1e-7, 1e20)}, "Golgi volume (um^3)", True, "Good & bad"),
        Query(ranges={"a": (None, 3)}),
    ],
)
def test_a_query_comes_back_from_a_url(query: Query) -> None:
    assert Query.from_parameters(query.parameters()) == query
    assert Query.from_parameters(QueryParams(urlencode(query.parameters(), doseq=True))) == query


def test_the_parameters_have_their_names() -> None:
    query = Query("x", {"ER": (1, 2.5), "Golgi": (None, 3)}, "ER", True, "s")
    assert query.parameters() == {
        "q": "x", "range": ["ER:1:2.5", "Golgi::3"], "sort": "ER", "desc": "1", "subset": "s",
    }  # fmt: skip
    assert Query().parameters() == {}


def test_what_a_url_says_wrongly_is_dropped_and_said() -> None:
    ranges = ["ER:1:2", "gone:1:2", "ER:x:", "ER", "Golgi::nan", "Golgi::", ":1:2"]
    found = Query.from_parameters({"range": ranges, "sort": "gone", "desc": "yes", "page": "3"}, {"ER", "Golgi"})
    assert found == Query(ranges={"ER": (1, 2)})
    assert len(found.dropped) == 6
    assert found.dropped[0] == "There is no column 'gone'."
    assert found.dropped[1].startswith("'ER:x:' is no range")


def test_similar_tomograms_come_nearest_first(tmp_path: Path) -> None:
    found = make(tmp_path).similar("a_1", most=3)
    # Of B_4 the ER is not known, so that Golgi and Unknown alone are compared.
    assert [name for name, _ in found] == ["a_2", "B_4", "B_3"]
    share = np.array([[0.1, 0.4, 0.5], [0.2, 0.2, 0.6]])
    assert found[0][1] == pytest.approx(np.sqrt(1 - np.sqrt(share[0] * share[1]).sum()))
    assert make(tmp_path).similar("elsewhere") == []


def test_ranks_leave_out_what_is_to_be_ignored(tmp_path: Path) -> None:
    atlas = make(tmp_path, Golgi=[90.0, 0.0, 0.0, 0.0, 0.0])
    assert atlas.ranked("a_1") == ["Unknown", "ER"]
    assert atlas.ranked("a_1", {"Unknown"}) == ["ER"]
    assert atlas.ranked("B_4") == ["Unknown"]
    assert atlas.ranked("elsewhere") == []


def test_unusual_tomograms_with_the_reason(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    names = [f"TS_{number:03d}" for number in range(60)]
    table = pd.DataFrame(
        {"ER": random.uniform(60, 64, 60), "Golgi": random.uniform(30, 32, 60), "Unknown": random.uniform(4, 6, 60)},
        index=pd.Index(names, name="Tomogram"),
    )
    table["Unlike"] = 0.5
    table.loc["TS_007", ["ER", "Golgi", "Unknown", "Unlike"]] = (5, 20, 75, 2.5)
    table.loc["TS_008", "Unlike"] = 1.25
    table.loc["TS_009", ["ER", "Golgi"]] = (5, 90)
    table.loc["TS_010", "Unknown"] = np.nan
    atlas = make(tmp_path)
    write(atlas._project, table)
    found = dict(atlas.unusual())
    assert list(found) == ["TS_007", "TS_008", "TS_009"]
    assert found["TS_007"].startswith("unlike the training data (2.50; 1 is the limit); 75 % is Unknown; composed like")
    assert found["TS_008"] == "unlike the training data (1.25; 1 is the limit)"
    assert found["TS_009"].startswith("composed like no other (distance 0.")
    assert len(atlas.unusual(most=1)) == 1


def test_a_new_table_is_read_and_an_old_one_is_not_read_again(tmp_path: Path) -> None:
    atlas = make(tmp_path)
    before = atlas.table()
    assert atlas.table() is before
    write(atlas._project, before.head(2))
    os.utime(atlas._project.summary_parquet, ns=(1, 1))
    assert list(atlas.table().index) == ["B_3", "B_4"]


def test_without_a_summary_there_is_an_empty_table(tmp_path: Path) -> None:
    atlas = Atlas(Project(tmp_path, Configuration(ontologies=("ER",))))
    assert len(atlas.table()) == 0
    assert atlas.features() == ()
    assert atlas.select(Query(text="a", sort="ER", ranges={"ER": (1, 2)})) == []
    assert (atlas.similar("a"), atlas.ranked("a"), atlas.unusual()) == ([], [], [])


def test_a_damaged_summary_says_what_to_do(tmp_path: Path) -> None:
    atlas = make(tmp_path)
    atlas._project.summary_parquet.write_bytes(b"PAR1 nonsense")
    with pytest.raises(PomError, match=r"summary\.parquet cannot be read .*'pom summarize'"):
        atlas.table()


def test_the_published_workbook_is_read(tmp_path: Path) -> None:
    project = Project(tmp_path, Configuration(ontologies=("ER", "Void")))
    table = pd.DataFrame({"Void": [1.5, 2.5], "ER": [20.0, None], "Unknown": [3, 4]}, index=["001", "NA"])
    table.to_excel(project.summary, index=True, index_label="Tomogram")
    atlas = Atlas(project)
    assert list(atlas.table().index) == ["001", "NA"]
    assert atlas.features() == ("Void", "ER", "Unknown")
    assert atlas.ranked("001") == ["ER", "Unknown", "Void"]
    assert atlas.select(Query(sort="ER", descending=True)) == ["001", "NA"]


def test_five_thousand_rows_are_filtered_and_sorted_at_once(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    names = [f"position_{number}" for number in random.permutation(5000)]
    table = pd.DataFrame(random.random((5000, 60)), [*names], [f"f{k}" for k in range(60)])
    project = Project(tmp_path, Configuration(ontologies=tuple(f"f{k}" for k in range(20))))
    table.rename_axis("Tomogram").to_parquet(project.summary_parquet)
    write_subset(project, "half", names[::2])
    atlas = Atlas(project)
    query = Query("pos 1", {"f1": (0.1, 0.9), "f2": (0.5, None)}, "f3", True, "half")
    expected = table.loc[names[::2]].query("0.1 <= f1 <= 0.9 and f2 >= 0.5").sort_values("f3", ascending=False)
    assert atlas.select(query) == [name for name in expected.index if "1" in name]
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        atlas.select(query)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.02


def test_several_threads_may_ask(tmp_path: Path) -> None:
    atlas = make(tmp_path)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(id(atlas.table()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
