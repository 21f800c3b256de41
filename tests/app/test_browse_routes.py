"""The addresses of the place Browse: what they answer, to good requests and to bad ones."""

import contextlib
import csv
import io
import os
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from pom.app.answers import answer_errors
from pom.app.browse.browsing import Browsing
from pom.app.browse.overview import fill_progress
from pom.app.browse.pages import render
from pom.app.browse.routes import browse_routes
from pom.app.browse.subsets import FORMS
from pom.io.summary_files import (
    COMPONENTS,
    CONFIDENCE,
    TOMOGRAM,
    UNLIKE,
    UNLIKE_FLAG,
    VOLUME,
    unlike_flags,
    write_parquet,
)
from pom.io.volume_files import stored_at
from pom.project.paths import Project
from pom.workflow.status import StepStatus
from pom.workflow.subsets import list_subsets, subset_names, write_subset

NAMES = ("TS_1", "TS_2", "TS_3", "gone & <b>lost</b>")
SHARES = {"Disc": [10.0, 40.0, np.nan, 25.0], "Square": [5.0, 0.0, 30.0, 1.0], "Unknown": [85.0, 60.0, 70.0, 74.0]}


def summary(names: tuple[str, ...] = NAMES, **columns: list[float]) -> pd.DataFrame:
    shares = columns or SHARES
    table = pd.DataFrame(shares, pd.Index(names, name=TOMOGRAM))
    for feature in shares:
        table[f"{feature}{VOLUME}"] = table[feature] / 100
        table[f"{feature}{COMPONENTS}"] = np.arange(len(names), dtype=float)
        table[f"{feature}{CONFIDENCE}"] = 0.9
    table[UNLIKE] = [0.5, 1.5, np.nan, 0.2][: len(names)]
    table[UNLIKE_FLAG] = unlike_flags(table[UNLIKE])
    return table


def picture(path: Path, colour: int = 90) -> Path:
    """Twice as wide as high, its first row white."""
    image = np.full((200, 400), colour, np.uint8)
    image[:100] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)
    return path


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    project = make_project(gallery_categories=("Top3", "density"))
    write_parquet(project.summary_parquet, summary())
    picture(project.density_picture("TS_1"))
    picture(project.projection("TS_1", "Disc", side=True))
    picture(project.picture("TS_1", "Top3"))
    return project


@pytest.fixture
def ask(project: Project) -> TestClient:
    return client(project)


def client(project: Project) -> TestClient:
    app = FastAPI()
    app.include_router(browse_routes(Browsing(lambda: project)))
    answer_errors(app)
    return TestClient(app, raise_server_exceptions=True)


def names_on(page: str) -> list[str]:
    return re.findall(r'<input type="checkbox" data-name="([^"]*)"', page)


def fault(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.json()["error"])


def opened(answer: Any) -> Image.Image:
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content))


def grey(image: Image.Image, y: int) -> int:
    """The grey value in the middle of a row."""
    return int(np.asarray(image.convert("L"))[y, image.width // 2])


# Tables


def test_the_table_answers_the_query_as_json_and_csv(ask: TestClient) -> None:
    answer = ask.get("/api/table", params={"range": "Disc:20:", "sort": "Disc"}).json()
    assert [row[TOMOGRAM] for row in answer["rows"]] == ["gone & <b>lost</b>", "TS_2"]
    assert (answer["total"], answer["page"], answer["pages"], answer["dropped"]) == (2, 1, 1, [])
    assert answer["rows"][1]["Disc volume (um^3)"] == 0.4 and answer["rows"][1][UNLIKE_FLAG] is True
    not_known = ask.get("/api/table", params={"q": "ts_3"}).json()["rows"][0]
    assert not_known["Disc"] is not_known[UNLIKE_FLAG] is None
    download = ask.get("/api/table.csv", params={"sort": "Square", "desc": "1", "q": "ts"})
    assert download.headers["content-disposition"] == 'attachment; filename="tomograms.csv"'
    rows = list(csv.DictReader(io.StringIO(download.text)))
    assert [row[UNLIKE_FLAG] for row in rows] == ["", "False", "True"]
    assert [(row[TOMOGRAM], row["Disc"]) for row in rows] == [("TS_3", ""), ("TS_1", "10.0"), ("TS_2", "40.0")]


def test_the_page_shows_what_the_query_finds(ask: TestClient) -> None:
    page = ask.get("/browse/table", params={"range": "Disc::30", "sort": "Disc", "desc": "1"}).text
    assert names_on(page) == ["gone &amp; &lt;b&gt;lost&lt;/b&gt;", "TS_1"]
    assert "<b>lost" not in page and "Disc ≤ 30" in page
    assert '<strong class="pom-number">2</strong> of 4' in page
    assert page.count(">absent</span>") == 1
    row = page[page.index('data-name="TS_1"') :].partition("</tr>")[0]
    assert re.findall(r"<td[^>]*>([\d.–]+)</td>", row) == ["10", "5", "85", "0.50"]
    assert "#e69f00 0.0% 10.0%" in row  # its composition
    everything = ask.get("/browse/table").text
    row = everything[everything.index('data-name="TS_3"') :].partition("</tr>")[0]
    assert re.findall(r"<td[^>]*>([\d.–]+)</td>", row) == ["–", "30", "70", "–"]
    assert everything.count(">unlike</span>") == 1
    confidence = ask.get("/browse/table", params={"show": "confidence"}).text
    assert ">0.900</td>" in confidence and "Disc confidence" in confidence


def test_pages_of_a_hundred(project: Project) -> None:
    names = tuple(f"TS_{number:03d}" for number in range(250))
    table = pd.DataFrame({"Disc": np.arange(250.0)}, pd.Index(names, name=TOMOGRAM))
    write_parquet(project.summary_parquet, table)
    ask = client(project)
    assert names_on(ask.get("/browse/table?page=2").text) == list(names[100:200])
    last = ask.get("/browse/table?page=3&sort=Disc&desc=1").text
    assert names_on(last) == list(names[49::-1])
    assert 'rel="next"' not in last and "page=2" in last
    for page in ("4", "999999"):
        answer = ask.get(f"/browse/table?page={page}").text
        assert names_on(answer) == list(names[200:])
        assert f"There is no page &#39;{page}&#39;: this is the last one." in answer
    for page in ("0", "-1", "x", "9" * 5000, "1e3", "٣"):
        answer = ask.get("/browse/table", params={"page": page}).text
        assert names_on(answer) == list(names[:100])
        assert f"There is no page &#39;{page[:20]}" in answer and "this is the first one." in answer
    found = ask.get("/api/table?page=7").json()
    assert (found["page"], found["dropped"]) == (3, ["There is no page '7': this is the last one."])
    assert "There is no page" not in ask.get("/browse/table?page=3").text


def test_what_is_not_understood_is_said(ask: TestClient) -> None:
    query = "range=Golgi:1:&range=Disc:x:&range=nonsense&sort=Golgi&subset=none&show=x&kind=y"
    page = ask.get(f"/browse/table?{query}").text
    assert len(names_on(page)) == 4
    for said in ("There is no column &#39;Golgi&#39;.", "&#39;Disc:x:&#39; is no range", "no subset &#39;none&#39;"):
        assert said in page
    assert "There are no figures &#39;x&#39; here." in page
    assert "show=x" not in page  # no link goes on with it
    gallery = ask.get("/browse/gallery?kind=../..&size=huge&desc=7&show=volume").text
    assert len(names_on(gallery)) == 4
    assert "There are no pictures &#39;../..&#39; here." in gallery
    assert "There is no size &#39;huge&#39; here." in gallery
    assert "huge&amp;" not in gallery and "show=volume" in gallery
    assert "b-dropped" not in ask.get("/browse/gallery?kind=Top3&size=large").text


def test_the_query_is_kept_over_the_tabs(ask: TestClient, project: Project) -> None:
    write_subset(project, "a & b", ["TS_1", "TS_2"])
    page = ask.get("/browse/table?range=Disc:1:&subset=a+%26+b&sort=Square&show=volume&page=1").text
    tabs = re.findall(r'<a href="([^"]*)"', page[page.index('class="b-tabs"') :].partition("</nav>")[0])
    assert [tab.partition("?")[0] for tab in tabs[:4]] == [
        "/browse", "/browse/table", "/browse/gallery", "/browse/subsets",
    ]  # fmt: skip
    assert {tab.partition("?")[2].replace("&amp;", "&") for tab in tabs} == {
        "range=Disc:1:&sort=Square&subset=a+%26+b&show=volume"
    }
    assert "/browse/tomogram/TS_1?range=Disc:1:" in page


# What is not there, or not whole


def test_no_summary_yet_names_the_command(make_project: Callable[..., Project]) -> None:
    ask = client(make_project())
    for path in ("/browse", "/browse/table", "/browse/gallery"):
        assert "<code>pom summarize</code>" in ask.get(path).text
    assert ask.get("/api/table").json()["rows"] == []
    assert ask.get("/browse/subsets").status_code == 200
    assert "pom shared process" in ask.get("/browse/progress").text


def test_half_written_projects(make_project: Callable[..., Project], tmp_path: Path) -> None:
    project = make_project(tomograms=("TS_1", "TS_2"))
    write_parquet(project.summary_parquet, summary(("TS_1",), Disc=[np.nan], Square=[3.0]))
    ask = client(project)
    overview = ask.get("/browse").text
    assert "1 tomogram<" in overview and "1 more is not summarised yet" in overview
    assert "<code>pom projections</code>" in overview
    gallery = ask.get("/browse/gallery").text
    assert "There are no pictures yet" in gallery and "no picture<" in gallery
    project.summary_parquet.write_bytes(b"PAR1 nonsense")
    for path in ("/browse", "/browse/table", "/browse/gallery"):
        answer = ask.get(path)
        assert answer.status_code == 422 and "make it again with &#39;pom summarize&#39;" in answer.text
    assert "make it again" in fault(ask.get("/api/table"), 422)
    empty = Project(tmp_path / "nothing", project.configuration)
    assert "pom summarize" in client(empty).get("/browse").text


def test_the_published_table_with_shares_only(project: Project) -> None:
    project.summary_parquet.unlink()
    pd.DataFrame(SHARES, pd.Index(NAMES, name=TOMOGRAM)).to_excel(project.summary)
    ask = client(project)
    page = ask.get("/browse/table?show=volume").text
    assert '<option value="share" selected>' in page and "Volume" not in page
    assert len(names_on(page)) == 4 and "unlike" not in page
    assert len(names_on(ask.get("/browse/gallery").text)) == 4
    assert ask.get("/browse").status_code == 200


def test_the_overview(ask: TestClient, project: Project) -> None:
    page = ask.get("/browse").text
    row = page[page.index("</span>Disc</th>") :].partition("</tr>")[0]
    assert re.findall(r"<td>(?:<a [^>]*>)?([\d.,]+)", row) == ["25", "25", "40", "3"]
    assert 'title="TS_2"' in row and "range=Disc:38.3:&amp;sort=Disc&amp;desc=1" in row
    assert "1 of them is not in the folder of tomograms: gone &amp; &lt;b&gt;lost" in page
    assert "unlike the training data (1.50; 1 is the limit)" in page
    project.jobs("shared").mkdir(parents=True)
    assert "3 waiting" in ask.get("/browse/progress").text


def step(name: str, *, done: int, total: int = 6, outdated: int = 0) -> StepStatus:
    return StepStatus(name, total, total - done, (), done, {}, outdated, None, None)


def test_steps_with_nothing_left_to_do_are_one_line() -> None:
    steps = [
        step("shared", done=6),
        step("single/Disc", done=6, outdated=2),
        step("test/Disc", done=6),
        step("test/Ring", done=5),
    ]
    page = render("progress.html", **fill_progress(steps))
    first, _, folded = page.partition("<details")
    assert re.findall("<strong>(.*?)</strong>", first) == ["single/Disc", "test/Ring"]
    assert "<summary>Done: shared, test/Disc</summary>" in folded
    assert re.findall("<strong>(.*?)</strong>", folded) == ["shared", "test/Disc"]
    alone = render("progress.html", **fill_progress(steps[:2]))
    assert "<details" not in alone
    assert re.findall("<strong>(.*?)</strong>", alone) == ["single/Disc", "shared"]
    assert "pom shared process" in render("progress.html", **fill_progress([]))


def test_found_in_counts_tomograms_with_a_volume(project: Project) -> None:
    """A network's output is hardly ever 0 all over, which is not to say that there is something."""
    table = summary()
    table["Square"] = 0.01
    table[f"Square{VOLUME}"] = [0.0, 0.2, np.nan, 0.0]
    write_parquet(project.summary_parquet, table)
    assert found_in(client(project).get("/browse").text, "Square") == "1"
    write_parquet(project.summary_parquet, table.drop(columns=f"Square{VOLUME}"))
    assert found_in(client(project).get("/browse").text, "Square") == "4"


def found_in(page: str, feature: str) -> str:
    row = page[page.index(f"</span>{feature}</th>") :].partition("</tr>")[0]
    return str(re.findall(r"<td>([\d,]+)</td>", row)[-1])


@pytest.mark.parametrize("decimals", [3, 1])
def test_a_bar_leads_to_as_many_tomograms_as_it_says(project: Project, decimals: int) -> None:
    names = tuple(f"TS_{number:03d}" for number in range(400))
    values = np.random.default_rng(2).exponential(0.7, 400).round(decimals)
    values[0] = 4.8  # so that there are values at the ends of bars
    write_parquet(project.summary_parquet, pd.DataFrame({"Disc": values}, pd.Index(names, name=TOMOGRAM)))
    ask = client(project)
    page = ask.get("/browse").text
    bars = re.findall(r'<a href="/browse/table([^"]*)"[^>]*><title>[^<]* %: (\d+)</title>', page)
    assert len(bars) == 24
    found = [ask.get(f"/api/table{address.replace('&amp;', '&')}").json()["total"] for address, _ in bars]
    assert found == [int(count) for _, count in bars]
    assert sum(found) >= 400 and found[-1] > 0


def test_what_is_infinite_is_not_known(project: Project) -> None:
    table = summary()
    table["Disc"] = [np.inf, -np.inf, 1.0, 2.0]
    write_parquet(project.summary_parquet, table)
    ask = client(project)
    assert [row["Disc"] for row in ask.get("/api/table").json()["rows"]] == [None, None, 1.0, 2.0]
    for path in ("/browse", "/browse/table", "/browse/gallery", "/browse/tomogram/TS_1"):
        assert ask.get(path).status_code == 200


# Pictures


def test_pictures_are_small_upright_and_kept(ask: TestClient, project: Project) -> None:
    small = opened(ask.get("/api/pictures/density/TS_1?size=160"))
    assert small.format == "WEBP" and small.size == (160, 80)
    assert grey(small, 75) > 250 and abs(grey(small, 5) - 90) < 4  # y grows upwards
    assert grey(opened(ask.get("/api/pictures/Top3/TS_1?size=320")), 5) > 250  # as it is
    whole = opened(ask.get("/api/pictures/Disc_projection_side/TS_1?size=0"))
    assert whole.format == "PNG" and whole.size == (400, 200) and whole.getpixel((0, 199)) == 255
    kept = list((project.browse_cache / "thumbnails" / "density" / "TS_1").iterdir())
    assert [path.name.partition("-")[0] for path in kept] == ["160"]
    gallery = ask.get("/browse/gallery?kind=density").text
    source = re.findall(r'<img src="([^"]*)"', gallery)[0].replace("&amp;", "&")
    answer = ask.get(source)
    assert opened(answer).size == (320, 160) and "immutable" in answer.headers["cache-control"]
    picture(project.density_picture("TS_1"), colour=7)
    os.utime(project.density_picture("TS_1"), (1, 1))
    answer = ask.get(source)  # of an older file than is there now
    assert grey(opened(answer), 5) < 20 and "no-cache" in answer.headers["cache-control"]
    assert len(list(kept[0].parent.iterdir())) == 2  # the older one of that size has gone


def kinds_on(page: str) -> list[str]:
    choice = page[page.index('aria-label="Pictures"') :].partition("</select>")[0]
    return re.findall(r'<option value="([^"]+)"', choice)


def test_kinds_are_what_there_are_folders_of(ask: TestClient, project: Project) -> None:
    picture(project.picture("TS_2", "Organelles"))
    (project.image_dir / ".hidden").mkdir()
    (project.image_dir / "a file").write_text("")
    projected = ["Disc_projection", "Disc_projection_side"]
    assert kinds_on(ask.get("/browse/gallery").text) == ["Top3", "density", *projected, "Organelles"]
    project.render_configuration.write_text('{"Organelles": ["Disc"]}')
    assert kinds_on(ask.get("/browse/gallery").text)[:2] == ["Top3", "Organelles"]
    project.render_configuration.write_text("{")
    assert kinds_on(ask.get("/browse/gallery").text)[-1] == "Organelles"


def test_projections_of_what_is_no_more_are_no_composition(project: Project) -> None:
    shutil.rmtree(project.images("Top3"))
    picture(project.projection("TS_1", "Old"))
    picture(project.projection("TS_1", "Disc"))
    page = client(project).get("/browse/gallery").text
    assert kinds_on(page) == ["density", "Disc_projection", "Disc_projection_side"]
    assert "<code>pom render</code> makes pictures" in page


@pytest.mark.parametrize(
    "path",
    [
        "density/TS_9", "density/..%2F..%2FTS_1", "density/%2e%2e", "density/.", "density/TS_1%00", "density/TS_2",
        "nothing/TS_1", "..%2Ftomograms/TS_1", "%2e%2e/TS_1", "Square_projection/TS_1", "density/" + "x" * 4000,
    ],
)  # fmt: skip
def test_no_picture_by_a_hostile_name(ask: TestClient, path: str) -> None:
    assert ask.get(f"/api/pictures/{path}").status_code == 404


def test_a_name_of_the_summary_leads_nowhere_else(project: Project) -> None:
    secret = picture(project.folder / "secret" / "x_Top3.png")
    write_parquet(project.summary_parquet, summary(("../../secret/x", "TS_1", "/etc/passwd", ".")))
    assert (project.images("Top3") / "../../secret/x_Top3.png").resolve() == secret.resolve()
    ask = client(project)
    assert len(names_on(ask.get("/browse/gallery?kind=Top3").text)) == 4
    assert ask.get("/browse/gallery?kind=Top3").text.count("<img") == 1
    for name in ("..%2F..%2Fsecret%2Fx", "../../secret/x", "%2Fetc%2Fpasswd"):
        assert ask.get(f"/api/pictures/Top3/{name}").status_code == 404


def test_bad_sizes_and_bad_pictures(ask: TestClient, project: Project) -> None:
    for size in ("161", "-1", "x", "99999", "9" * 5000):
        said = fault(ask.get("/api/pictures/density/TS_1", params={"size": size}), 422)
        assert said == "Pictures are 160, 320, 640 pixels large, or whole with size=0."
    project.density_picture("TS_2").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "no picture that can be read" in fault(ask.get("/api/pictures/density/TS_2"), 422)
    (project.images("density") / "TS_3_density.png").write_bytes(project.density_picture("TS_1").read_bytes()[:300])
    assert "no picture that can be read" in fault(ask.get("/api/pictures/density/TS_3"), 422)


# Tomograms


def test_the_most_similar_have_pictures_of_one_kind(project: Project) -> None:
    ask = client(project)

    def kinds() -> list[str]:
        page = ask.get("/browse/tomogram/TS_1").text
        similar = page[page.index('class="t-similar"') :].partition("</ul>")[0]
        return re.findall(r'<li>.*?(?:/api/pictures/(\w+)/.*?)?class="b-stripes"', similar, re.DOTALL)

    assert len(kinds()) == 3
    assert kinds() == ["", "", ""]
    picture(project.picture("TS_2", "Top3"))
    assert sorted(kinds()) == ["", "", "Top3"]
    picture(project.density_picture("TS_3"))
    assert sorted(kinds()) == ["", "", "Top3"]  # as many; it comes first
    picture(project.density_picture("TS_2"))
    assert sorted(kinds()) == ["", "density", "density"]
    picture(project.picture("TS_3", "Top3"))
    assert sorted(kinds()) == ["", "Top3", "Top3"]


def test_unknown_has_one_colour(ask: TestClient) -> None:
    settings = ask.get("/browse/settings").text
    row = settings[settings.index('data-feature="Unknown"') :]
    colour = re.findall(r'type="color" value="(#\w+)"', row)[0]
    for path in ("/browse", "/browse/table", "/browse/tomogram/TS_1"):
        page = ask.get(path).text
        assert f"{colour} " in page or f'"{colour}"' in page, path


def test_names_that_no_address_can_bear(make_project: Callable[..., Project]) -> None:
    """Such as from a Windows share: Latin-1 in place of UTF-8. They are in no list, and every link of a page works."""
    project = make_project()
    shutil.copy(project.tomogram("TS_1"), project.tomogram("TS_0 + 100% #1"))
    for name in (b"TS_2\xb5.mrc", b"back\\slash.mrc", b"blank .mrc"):
        shutil.copy(project.tomogram("TS_1"), project.tomogram_dir / os.fsdecode(name))
    for name in (b"\xb5.txt", b"a\\b.txt"):
        (project.subsets / os.fsdecode(name)).parent.mkdir(exist_ok=True)
        (project.subsets / os.fsdecode(name)).write_text("TS_1\n")
    ask = client(project)
    for path in ("/browse", "/browse/table", "/browse/gallery", "/browse/subsets", "/browse/settings"):
        assert ask.get(path).status_code == 200, path
    assert ask.get("/browse/progress").status_code == 200
    path, seen = "/browse/tomogram/TS_0%20%2B%20100%25%20%231", 0
    while path:
        answer = ask.get(path)
        assert answer.status_code == 200, path
        seen += 1
        after = re.search(r'href="([^"]+)" rel="next"', answer.text)
        path = after[1] if after else ""
    assert seen == 4


def test_a_segmented_tomogram_is_found_by_a_list(
    make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With thousands of tomograms, a question a file takes minutes on a network disk."""
    project = make_project(macromolecules=("Density",))
    for number in range(50):
        project.tomogram(f"TS_{number:02d}").touch()
    asked: list[Path] = []

    def ask_for(path: Path) -> Path:
        asked.append(path)
        return stored_at(path)

    monkeypatch.setattr("pom.workflow.feature_volumes.stored_at", ask_for)
    page = client(project).get("/browse/settings").text
    assert 'placeholder="nothing is segmented yet"' in page and 'value="" data-tomogram' in page
    assert len(asked) < 10
    project.output("TS_33", "Disc").parent.mkdir(exist_ok=True)
    project.output("TS_33", "Disc").write_bytes(bytes(5000))
    assert 'value="TS_33" data-tomogram' in client(project).get("/browse/settings").text
    project.output("TS_33", "Disc").rename(project.output("TS_07", "Disc"))
    assert 'value="TS_07" data-tomogram' in client(project).get("/browse/settings").text
    assert len(asked) < 30


def test_style_sheets_and_scripts_only(ask: TestClient) -> None:
    answer = ask.get("/browse/static/browse.js")
    assert answer.headers["content-type"].startswith("text/javascript")
    assert ask.get("/browse/static/browse.js", headers={"if-none-match": answer.headers["etag"]}).status_code == 304
    for name in ("routes.py", "..%2Froutes.py", "layout.html", ""):
        assert ask.get(f"/browse/static/{name}").status_code == 404


# Subsets


def test_subsets_of_names_and_of_a_query(ask: TestClient, project: Project) -> None:
    made = ask.post("/api/subsets", json={"title": " Good ones ", "names": ["TS_2", "TS_1", "TS_2"]})
    assert made.status_code == 200 and made.json()["title"] == "Good ones"
    assert subset_names(project, "Good ones") == ("TS_2", "TS_1")
    again = {"title": "Good ones", "query": "range=Disc:20:&sort=Disc"}
    assert "There is a subset 'Good ones' already" in fault(ask.post("/api/subsets", json=again), 409)
    assert ask.post("/api/subsets", json={**again, "mode": "add"}).json()["count"] == 3
    assert subset_names(project, "Good ones") == ("TS_2", "TS_1", "gone & <b>lost</b>")
    assert ask.post("/api/subsets", json={**again, "mode": "replace"}).json()["count"] == 2
    page = ask.get("/browse/subsets").text
    assert "Good ones" in page and "/browse/table?subset=Good+ones" in page
    assert names_on(ask.get("/browse/table?subset=Good+ones").text) == ["TS_2", "gone &amp; &lt;b&gt;lost&lt;/b&gt;"]
    assert ask.delete("/api/subsets/Good%20ones").status_code == 200
    assert list_subsets(project) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"title": "../x", "names": ["TS_1"]}, 422), ({"title": "", "names": ["TS_1"]}, 422),
        ({"title": "a/b", "names": ["TS_1"]}, 422), ({"title": "x" * 300, "names": ["TS_1"]}, 422),
        ({"title": "x", "names": []}, 422), ({"title": "x"}, 422),
        ({"title": "x", "names": ["TS_1"], "query": ""}, 422),
        ({"title": "x", "names": ["TS_1", "TS_9"]}, 404), ({"title": "x", "names": ["../TS_1"]}, 404),
        ({"title": "x", "names": [1]}, 422), ({"title": "x", "names": "TS_1"}, 422), ({"title": "x", "more": 1}, 422),
        ({"title": "x", "query": "range=Golgi:1:"}, 422), ({"title": "x", "query": "q=nothing+like+it"}, 422),
        ({"title": "x", "names": ["TS_1"], "mode": "delete"}, 422), ([], 422), ("x", 422),
    ],
)  # fmt: skip
def test_subsets_that_cannot_be(ask: TestClient, project: Project, body: object, status: int) -> None:
    assert fault(ask.post("/api/subsets", json=body), status)
    assert list_subsets(project) == []


def test_thousands_of_names_are_looked_up_at_once(
    ask: TestClient, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, names = 0, Browsing.names

    def counted(browsing: Browsing) -> Sequence[str]:
        nonlocal looks
        looks += 1
        return names(browsing)

    monkeypatch.setattr(Browsing, "names", counted)
    body = {"title": "x", "names": [f"stranger {number}" for number in range(1000)]}
    assert "stranger 0" in fault(ask.post("/api/subsets", json=body), 404)
    assert looks < 5


def test_lists_of_other_programs(ask: TestClient, project: Project) -> None:
    star = b"data_\n\nloop_\n_rlnTomoName #1\n_rlnX #2\nTS_2 1\nTS_9 2\nTS_2 3\n"
    answer = ask.post("/api/subsets/import?file=good.star", content=star).json()
    assert (answer["title"], answer["count"], answer["unknown"]) == ("good", 1, ["TS_9"])
    assert subset_names(project, "good") == ("TS_2",)
    assert "already" in fault(ask.post("/api/subsets/import?file=good.star", content=star), 409)
    assert "x.txt names no tomogram" in fault(ask.post("/api/subsets/import?file=x.txt", content=b""), 422)
    assert "of this project" in fault(ask.post("/api/subsets/import?file=y.txt", content=b"TS_8\n"), 422)
    assert fault(ask.post("/api/subsets/import?file=y.txt", content=b"\xff\xfe\x00"), 422)
    assert ask.post("/api/subsets/import?file=C:\\lists\\..\\z.txt", content=b"TS_1.mrc\n").json()["title"] == "z"
    assert "must not begin with" in fault(ask.post("/api/subsets/import?file=.txt/..", content=b"TS_1\n"), 422)
    assert list_subsets(project) == ["good", "z"]


def test_files_with_odd_names_and_fields(ask: TestClient, project: Project) -> None:
    odd = {"a.\0x": "a", f"b.{'x' * 300}": "b", "c.TXT": "c", "d": "d", "e.star ": "e"}
    for file, title in odd.items():
        answer = ask.post("/api/subsets/import", params={"file": file}, content=b"TS_1\n")
        assert (answer.status_code, answer.json().get("title")) == (200, title), answer.text
    field = b'"' + b"a" * 200_000 + b'"\nTS_1\n'
    said = fault(ask.post("/api/subsets/import?file=long.csv", content=field), 422)
    assert said.startswith("long.csv cannot be read (field larger than field limit")
    assert list_subsets(project) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("mode", ["new", "add"])
def test_two_people_make_a_subset_at_once(project: Project, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = client(project)
    meeting = threading.Barrier(2)

    def both(project: Project) -> list[str]:
        """Waits until the other one has looked, too, if it can."""
        titles = list_subsets(project)
        with contextlib.suppress(threading.BrokenBarrierError):
            meeting.wait(0.5)
        return titles

    if mode == "add":
        write_subset(project, "x", ["TS_3"])
    monkeypatch.setattr("pom.app.browse.subsets.list_subsets", both)
    bodies = [{"title": "x", "names": [name], "mode": mode} for name in ("TS_1", "TS_2")]
    with ThreadPoolExecutor(2) as pool:
        answers = sorted(pool.map(lambda body: ask.post("/api/subsets", json=body).status_code, bodies))
    if mode == "add":
        assert answers == [200, 200] and sorted(subset_names(project, "x")) == ["TS_1", "TS_2", "TS_3"]
    else:
        assert answers == [200, 409] and len(subset_names(project, "x")) == 1


def test_lists_for_other_programs(ask: TestClient, project: Project) -> None:
    write_subset(project, "süß", ["TS_2", "TS_9"])
    answer = ask.get("/api/subsets/s%C3%BC%C3%9F/export?form=paths")
    assert answer.text == f"{project.tomogram('TS_2').absolute()}\n{project.tomogram('TS_9').absolute()}\n"
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''s%C3%BC%C3%9F%20paths.txt"
    exports = [ask.get(f"/api/subsets/süß/export?form={form}") for form in FORMS]
    assert len({each.headers["content-disposition"] for each in exports}) == len(FORMS)  # none overwrites another
    assert ask.get("/api/subsets/süß/export?form=tomostar").text == "tomostar/TS_2.tomostar\ntomostar/TS_9.tomostar\n"
    assert "_rlnTomoName" in ask.get("/api/subsets/süß/export?form=star").text
    assert ask.get("/api/subsets/süß/export?form=csv").text.splitlines()[1].startswith("TS_2,40")
    assert fault(ask.get("/api/subsets/süß/export?form=exe"), 422)
    for title in ("none", "..%2Fx", "%2e%2e"):
        assert ask.get(f"/api/subsets/{title}/export").status_code == 404
        assert ask.delete(f"/api/subsets/{title}").status_code in (404, 405)
    assert "1 unknown" in ask.get("/browse/subsets").text
