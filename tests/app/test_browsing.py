"""What the pages of one server share, while the project changes under them."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from pom.app.answers import answer_errors
from pom.app.browse.browsing import Browsing
from pom.app.browse.routes import browse_routes
from pom.io.stamps import FileStamp, file_stamp
from pom.io.summary_files import TOMOGRAM, VOLUME, write_parquet
from pom.project.paths import Project
from pom.workflow.status import StatusSurvey

EARLIER = {"Disc": [10.0, 40.0, 20.0], "Square": [5.0, 0.0, 30.0], "Unknown": [85.0, 60.0, 50.0]}
LATER = {"Nucleus": [30.0, 50.0], "Disc": [30.0, 20.0], "Unknown": [40.0, 30.0]}


def summarise(project: Project, shares: dict[str, list[float]], first: int) -> None:
    table = pd.DataFrame(shares)
    table.index = pd.Index([f"TS_{first + number}" for number in range(len(table))], name=TOMOGRAM)
    for feature in shares:
        table[f"{feature}{VOLUME}"] = table[feature] / 100
    write_parquet(project.summary_parquet, table)


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    project = make_project()
    summarise(project, EARLIER, 1)
    return project


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_the_tomograms_do_not_wait_for_the_survey(
    project: Project, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, go_on = threading.Event(), threading.Event()
    look = StatusSurvey.look

    def slow(survey: StatusSurvey) -> object:
        looking.set()
        assert go_on.wait(30)
        return look(survey)

    monkeypatch.setattr(StatusSurvey, "look", slow)
    browsing = Browsing(lambda: project)
    steps = pool.submit(browsing.steps)
    try:
        assert looking.wait(30)
        assert pool.submit(browsing.names).result(timeout=5) == project.tomogram_names()
        assert pool.submit(browsing.knows, "TS_1").result(timeout=5)
        assert not steps.done()
    finally:
        go_on.set()
    assert steps.result(timeout=30) is browsing.steps()  # it is kept for a while


def test_an_ontology_that_was_added_counts_at_once(project: Project) -> None:
    summarise(project, LATER, 1)
    now = [project]
    browsing = Browsing(lambda: now[0])
    assert browsing.atlas.ranked("TS_2") == ["Unknown", "Disc"]
    configuration = project.configuration
    now[0] = Project(project.folder, configuration.model_copy(update={"ontologies": ("Disc", "Square", "Nucleus")}))
    assert browsing.atlas.ranked("TS_2") == ["Nucleus", "Unknown", "Disc"]
    assert browsing.atlas.table() is browsing.atlas.table()  # it is read once only
    assert browsing.atlas.similar("TS_1")[0][1] == pytest.approx(0.146, abs=1e-3)


@pytest.mark.parametrize(
    "path",
    [
        "/browse", "/browse/table", "/browse/gallery", "/browse/subsets", "/browse/settings", "/browse/tomogram/TS_2",
        "/api/table", "/api/table.csv",
    ],
)  # fmt: skip
def test_a_page_is_of_one_moment(project: Project, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever ``pom summarize`` ends while a page is made."""
    app = FastAPI()
    app.include_router(browse_routes(Browsing(lambda: project)))
    answer_errors(app)
    ask = TestClient(app)
    looks = 0

    for moment in range(1, 200):

        def look(path: Path, moment: int = moment) -> FileStamp:
            nonlocal looks
            looks += 1
            if looks == moment:
                summarise(project, LATER, 2)
            return file_stamp(path)

        summarise(project, EARLIER, 1)
        looks = 0
        monkeypatch.setattr("pom.workflow.atlas.file_stamp", look)
        assert ask.get(path).status_code == 200, moment
        if looks < moment:
            break
    assert looks < moment
