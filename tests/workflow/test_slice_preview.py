import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
from numpy.typing import NDArray

from pom.errors import PomError
from pom.io.channels import Scale, measure_scale
from pom.io.checkpoints import load_network, save_network
from pom.networks.devices import Devices
from pom.project.paths import Project
from pom.volumes.binning import bin_mean
from pom.workflow import slice_preview
from pom.workflow.single_process import single_process
from pom.workflow.slice_preview import Recent, SlicePreview, ontologies_with_network

MakeProject = Callable[..., Project]
SHAPE = (12, 64, 72)
CPU = Devices()


@pytest.fixture
def project(make_project: MakeProject, random_network: Callable[..., Any]) -> Project:
    project = make_project(output_dtype="float32")
    save_network(project.single_network("Disc"), *random_network("single", ("Disc",)))
    return project


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were measured, in turn."""
    names: list[str] = []

    def spy(channel: str, path: Path, *rest: Any) -> Scale:
        names.append(path.name)
        return measure_scale(channel, path, *rest)

    monkeypatch.setattr(slice_preview, "measure_scale", spy)
    return names


def rewrite(path: Path, change: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
    with mrcfile.open(path, mode="r+") as mrc:
        mrc.set_data(change(np.array(mrc.data)))


def test_the_numbers_are_those_of_single_process(project: Project) -> None:
    """At the edges, inside, in two tomograms in turn; every pixel has the value of the voxel that it lies in."""
    assert single_process(project, "Disc", CPU, test=False).failed == {}
    preview = SlicePreview(project, CPU)
    for z in (0, 11, 5, 4, 7):
        for name in ("TS_1", "TS_3"):
            answer = preview.predict(name, "Disc", z)
            assert answer.shape == SHAPE[1:]
            assert answer.dtype == np.float32
            with mrcfile.open(project.output(name, "Disc")) as mrc:
                written = np.array(mrc.data[z // 2])
            assert np.ptp(written) > 0.2
            np.testing.assert_allclose(answer, written.repeat(2, 0).repeat(2, 1), atol=1e-5)


@pytest.mark.parametrize("binning", [(1, 1, 1), (3, 5, 4)])
def test_any_binning(
    make_project: MakeProject, random_network: Callable[..., Any], binning: tuple[int, int, int]
) -> None:
    project = make_project(output_dtype="float32", tomograms=("TS_1",))
    weights, card = random_network("single", ("Disc",))
    preprocessing = card.preprocessing.model_copy(update={"binning": binning, "channels": ("_", "Density")})
    save_network(project.single_network("Disc"), weights, card.model_copy(update={"preprocessing": preprocessing}))
    single_process(project, "Disc", CPU, test=False)
    answer = SlicePreview(project, CPU).predict("TS_1", "Disc", 10)
    with mrcfile.open(project.output("TS_1", "Disc")) as mrc:
        np.testing.assert_allclose(bin_mean(answer, binning[1:]), mrc.data[10 // binning[0]], atol=1e-5)
    assert answer.shape == SHAPE[1:]


def test_a_tomogram_is_measured_once(project: Project, random_network: Callable[..., Any], measured: list[str]) -> None:
    save_network(project.single_network("Square"), *random_network("single", ("Square",)))
    preview = SlicePreview(project, CPU)
    preview.prepare("TS_1", "Disc")
    assert measured == ["TS_1.mrc", "TS_1__Membrane.mrc"]
    for z in (3, 8):
        for ontology in ("Disc", "Square"):
            preview.predict("TS_1", ontology, z)
    assert len(measured) == 2
    preview.predict("TS_2", "Disc", 3)
    preview.predict("TS_1", "Disc", 3)
    assert measured[2:] == ["TS_2.mrc", "TS_2__Membrane.mrc"]


def test_a_tomogram_that_changes_is_measured_again(project: Project, measured: list[str]) -> None:
    preview = SlicePreview(project, CPU)
    before = preview.predict("TS_1", "Disc", 5)
    rewrite(project.tomogram("TS_1"), lambda volume: volume[::-1] * 3 + 1)
    after = preview.predict("TS_1", "Disc", 5)
    assert measured == ["TS_1.mrc", "TS_1__Membrane.mrc", "TS_1.mrc"]
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_array_equal(after, SlicePreview(project, CPU).predict("TS_1", "Disc", 5))


def test_a_network_that_is_trained_again_takes_over(project: Project, random_network: Callable[..., Any]) -> None:
    preview = SlicePreview(project, CPU)
    before = preview.predict("TS_1", "Disc", 5)
    weights, card = random_network("single", ("Disc",))
    weights["head.bias"] -= 50.0
    save_network(project.single_network("Disc"), weights, card)
    assert before.max() > 0.5
    assert preview.predict("TS_1", "Disc", 5).max() < 0.01


def test_what_is_kept_is_not_what_is_given_out(project: Project) -> None:
    preview = SlicePreview(project, CPU)
    first = preview.predict("TS_1", "Disc", 4)
    expected = first.copy()
    first[:] = 7
    np.testing.assert_array_equal(preview.predict("TS_1", "Disc", 5), expected)


def test_many_threads_at_a_time(project: Project, measured: list[str]) -> None:
    preview = SlicePreview(project, CPU)
    begin = threading.Barrier(4)

    def ask(z: int) -> NDArray[np.float32]:
        if z < 4:
            begin.wait(10)
        return preview.predict("TS_1", "Disc", z)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, range(12)))
    assert len(measured) == 2
    for z, answer in enumerate(answers):
        np.testing.assert_array_equal(answer, preview.predict("TS_1", "Disc", z))


def test_which_ontologies_have_a_network(project: Project, random_network: Callable[..., Any]) -> None:
    assert ontologies_with_network(project) == ["Disc"]
    save_network(project.single_network("Former"), *random_network("single", ("Former",)))
    project.single_network("Square").mkdir()
    assert ontologies_with_network(project) == ["Disc"]


def test_what_a_person_can_do_wrong(project: Project) -> None:
    preview = SlicePreview(project, CPU)
    with pytest.raises(PomError, match=r"There is no trained network in .*Square; run 'pom single train"):
        preview.predict("TS_1", "Square", 3)
    with pytest.raises(PomError, match=r"There is no ontology 'disk' \(did you mean 'Disc'\?\)"):
        preview.predict("TS_1", "disk", 3)
    for z in (-1, 12):
        with pytest.raises(PomError, match=f"TS_1 has the slices 0 to 11, and so no slice {z}"):
            preview.predict("TS_1", "Disc", z)
    with pytest.raises(PomError, match=r"There is no file .*TS_9\.mrc"):
        preview.predict("TS_9", "Disc", 3)
    project.macromolecule("TS_2", "Membrane").unlink()
    with pytest.raises(PomError, match="segment Membrane in this tomogram"):
        preview.predict("TS_2", "Disc", 3)
    rewrite(project.tomogram("TS_3"), np.zeros_like)
    with pytest.raises(PomError, match=r"TS_3\.mrc is constant"):
        preview.prepare("TS_3", "Disc")
    assert preview.predict("TS_1", "Disc", 3).shape == SHAPE[1:]


def test_the_last_ones_are_kept() -> None:
    made: list[str] = []
    recent: Recent[str, str] = Recent(2)

    def make(key: str) -> str:
        made.append(key)
        return key.upper()

    for key in "abacab":
        assert recent.get(key, lambda key=key: make(key)) == key.upper()  # type: ignore[misc]
    assert made == ["a", "b", "c", "b"]


def test_what_is_prepared_is_not_made_again(
    project: Project, measured: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def spy(folder: Path, made_by: str) -> Any:
        loaded.append(folder.name)
        return load_network(folder, made_by)

    monkeypatch.setattr(slice_preview, "load_network", spy)
    preview = SlicePreview(project, CPU)
    preview.prepare("TS_1", "Disc")
    assert (loaded, measured) == (["Disc"], ["TS_1.mrc", "TS_1__Membrane.mrc"])
    preview.predict("TS_1", "Disc", 3)
    assert (len(loaded), len(measured)) == (1, 2)
    on_gpu = SlicePreview(project, Devices((0,)))
    on_gpu.prepare("TS_1", "Disc")  # whose memory others may need
    assert len(loaded) == 1


def test_nobody_waits_for_another_value() -> None:
    """One tomogram is answered for while another one is measured."""
    recent: Recent[str, str] = Recent(2)
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        assert go_on.wait(10)
        return "A"

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(recent.get, "a", slow)
        assert begun.wait(10)
        second = pool.submit(recent.get, "a", lambda: "another A")
        assert recent.get("b", lambda: "B") == "B"
        assert not first.done() and not second.done()
        go_on.set()
        assert first.result(10) == second.result(10) == "A"
    with pytest.raises(ZeroDivisionError):
        recent.get("c", lambda: str(1 // 0))
    assert recent.get("c", lambda: "C") == "C"
