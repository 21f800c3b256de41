import asyncio
import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from pom.app.answers import DroppedError, answer_errors
from pom.app.slices.images import jpeg, png, share_to_grey, to_grey
from pom.app.slices.layers import slice_of_layer
from pom.app.slices.pictures import Pictures
from pom.app.slices.routes import slice_routes
from pom.app.slices.volumes import Volume, Volumes, contrast
from pom.app.slices.waiting import Newest, PictureCache
from pom.errors import PomError
from pom.io.channels import measure_scale
from pom.io.checkpoints import save_network
from pom.io.mrc import MrcWriter
from pom.networks import devices
from pom.networks.devices import Devices
from pom.project.configuration import Configuration
from pom.project.paths import Project
from pom.workflow import slice_preview

SIZE = (6, 8, 10)


def write(path: Path, volume: NDArray[Any], voxel_size: float = 15.68) -> Path:
    depth, height, width = volume.shape
    with MrcWriter(path, (depth, height, width), volume.dtype, (voxel_size,) * 3) as writer:
        writer.write(volume)
    return path


def ramp(dtype: str = "float32") -> NDArray[Any]:
    """Slice z is 10 z everywhere but for row 0, which is 1 more, and column 0, which is 2 more."""
    volume = np.zeros(SIZE, dtype)
    volume += (10 * np.arange(SIZE[0])).astype(dtype)[:, None, None]
    volume[:, 0] += 1
    volume[:, :, 0] += 2
    return volume


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, Configuration(macromolecules=("Density", "Membrane", "_"), ontologies=("Disc", "Big one")))


@pytest.fixture
def client(project: Project) -> Iterator[TestClient]:
    write(project.tomogram("TS_1"), ramp())
    app = FastAPI()
    app.include_router(slice_routes(Pictures(lambda: project)))
    answer_errors(app)
    with TestClient(app) as client:
        yield client


def grey_of(content: bytes) -> NDArray[np.uint8]:
    image = Image.open(io.BytesIO(content))
    assert image.mode == "L"
    return np.asarray(image)


def error_of(client: TestClient, path: str, status: int) -> str:
    answer = client.get(path)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]
    sentence: str = answer.json()["error"]
    assert sentence.endswith((".", ")")) and "\n" not in sentence
    return sentence


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8"])
@pytest.mark.parametrize(
    ("z", "n_slices", "expected"),
    [(3, 1, 30), (3, 3, 30), (0, 3, 5), (5, 3, 45), (0, 1, 0), (3, 2, 35), (5, 2, 50), (0, 2, 5), (2, 101, 25),
     (3, 4, 35), (1, 5, 15)],
)  # fmt: skip
def test_a_slab_is_the_mean_of_the_slices_that_exist(
    tmp_path: Path, dtype: str, z: int, n_slices: int, expected: float
) -> None:
    volume = Volume(write(tmp_path / "a.mrc", ramp(dtype)))
    slab = volume.slab(z, n_slices)
    assert slab.shape == SIZE[1:]
    assert slab[3, 4] == pytest.approx(expected)
    assert slab[0, 4] == pytest.approx(expected + 1)
    assert slab[3, 0] == pytest.approx(expected + 2)
    volume.close()


def test_slabs_that_do_not_exist(tmp_path: Path) -> None:
    volume = Volume(write(tmp_path / "a.mrc", ramp()))
    for z, n_slices in ((-1, 1), (6, 1), (0, 0)):
        with pytest.raises(ValueError, match="no slab of"):
            volume.slab(z, n_slices)
    volume.close()


def test_nan_is_shown_as_zero(tmp_path: Path) -> None:
    data = ramp()
    data[2, 5, 5], data[2, 5, 6] = np.nan, np.inf
    volume = Volume(write(tmp_path / "a.mrc", data))
    slab = volume.slab(2)
    assert slab[5, 5] == 0 and slab[4, 4] == 20
    assert to_grey(slab, 0, 40)[5, 4:8].tolist() == [128, 0, 255, 128]
    volume.close()


def test_grey_values_are_rounded_and_clipped() -> None:
    image = np.array([[-5, 0, 1, 2], [3, 4, 10, 99]], np.float32)
    assert to_grey(image, 0, 10).tolist() == [[0, 0, 26, 51], [77, 102, 255, 255]]
    assert to_grey(image.astype(np.int8), 0, 10).tolist() == [[0, 0, 26, 51], [77, 102, 255, 255]]
    tall = np.arange(1000, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(to_grey(tall, 0, 999)[:, 0], np.floor(tall[:, 0] / 999 * 255 + 0.5))


def test_pictures_keep_the_order_of_rows() -> None:
    grey = np.add.outer(np.arange(64), np.arange(96)).astype(np.uint8)
    np.testing.assert_array_equal(grey_of(png(grey)), grey)
    assert np.abs(grey_of(jpeg(grey)).astype(int) - grey).max() <= 3


def contrast_of(path: Path, data: NDArray[Any]) -> tuple[float, float]:
    volume = Volume(write(path, data))
    low, high = contrast(volume)
    volume.close()
    return low, high


def test_the_contrast_is_that_of_the_percentiles(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(100, 10, (20, 256, 256)).astype(np.float32)
    low, high = contrast_of(tmp_path / "a.mrc", data)
    expected = np.percentile(data, (0.1, 99.9))
    assert low == pytest.approx(expected[0], abs=1.5)
    assert high == pytest.approx(expected[1], abs=1.5)

    padded = data.copy()
    padded[:, :, :80] = 0
    without_padding = contrast_of(tmp_path / "b.mrc", padded)
    assert without_padding[0] == pytest.approx(low, abs=1.5)
    assert without_padding[1] == pytest.approx(high, abs=1.5)

    whole = data.clip(0, 127).astype(np.int8)
    assert contrast_of(tmp_path / "c.mrc", whole)[0] == pytest.approx(low, abs=2)


@pytest.mark.parametrize("value", [0.0, -3.5, 1e6])
def test_the_contrast_of_what_has_none(tmp_path: Path, value: float) -> None:
    low, high = contrast_of(tmp_path / "a.mrc", np.full(SIZE, value, np.float32))
    assert low < value < high


def test_few_files_stay_open_and_none_is_closed_in_use(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{number}.mrc", ramp() + number) for number in range(6)]
    volumes = Volumes(most_open=2)
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir())) if descriptors.exists() else 0
    with volumes.open(paths[0]) as first:
        for number, path in enumerate(paths):
            with volumes.open(path) as volume:
                assert volume.slab(1)[3, 3] == 10 + number
        assert first.slab(1)[3, 3] == 10
        with volumes.open(paths[5]) as last, volumes.open(paths[5]) as again:
            assert last is again
    if descriptors.exists():
        assert len(list(descriptors.iterdir())) == before + 2
    volumes.close()
    if descriptors.exists():
        assert len(list(descriptors.iterdir())) == before


def test_many_threads_read_one_volume(tmp_path: Path) -> None:
    volumes, path = Volumes(most_open=1), write(tmp_path / "a.mrc", ramp())
    other = write(tmp_path / "b.mrc", ramp() + 100)
    faults: list[str] = []

    def read(seed: int) -> None:
        for z in np.random.default_rng(seed).integers(0, SIZE[0], 200):
            chosen, offset = ((path, 0), (other, 100))[z % 2]
            with volumes.open(chosen) as volume:
                if volume.slab(int(z))[3, 3] != 10 * z + offset:
                    faults.append(f"{chosen} {z}")

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    volumes.close()
    assert faults == []


def test_a_tomogram_is_described(project: Project, client: TestClient) -> None:
    write(project.macromolecule("TS_1", "Membrane"), ramp("int8"))
    write(project.output("TS_1", "Big one"), ramp("int8"))
    found = client.get("/api/tomograms/TS_1").json()
    tag = found.pop("tag")
    assert found == {
        "name": "TS_1", "shape": list(SIZE), "voxel_size_nm": pytest.approx(1.568),
        "layers": [
            {"id": "macromolecule-Membrane", "title": "Membrane", "kind": "macromolecule"},
            {"id": "output-Big one", "title": "Big one", "kind": "output"},
        ],
    }  # fmt: skip
    assert tag and client.get("/api/tomograms/TS_1").json()["tag"] == tag


def test_slices_as_the_page_gets_them(project: Project, client: TestClient) -> None:
    volume = Volume(project.tomogram("TS_1"))
    low, high = contrast(volume)
    volume.close()
    answer = client.get("/api/tomograms/TS_1/slices/3?slab=3")
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/jpeg"
    grey = grey_of(answer.content)
    assert grey.shape == SIZE[1:]
    assert abs(int(grey[4, 5]) - 255 * (30 - low) / (high - low)) < 6
    assert grey[0, 5] > grey[4, 5] and grey[4, 0] > grey[4, 5]
    thin, thick = (grey_of(client.get(f"/api/tomograms/TS_1/slices/1?slab={n}").content)[4, 5] for n in (1, 4))
    assert thick - float(thin) == pytest.approx(255 * 5 / (high - low), abs=8)


def test_the_browser_keeps_slices_until_the_file_is_another(project: Project, client: TestClient) -> None:
    path = "/api/tomograms/TS_1/slices/3"
    first = client.get(path)
    assert first.headers["cache-control"] == "private, no-cache"
    etag = first.headers["etag"]
    again = client.get(path, headers={"if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(path, headers={"if-none-match": f'"other", W/{etag}'}).status_code == 304
    assert client.get(path + "?slab=3", headers={"if-none-match": etag}).status_code == 200
    tag = client.get("/api/tomograms/TS_1").json()["tag"]
    assert client.get(f"{path}?v={tag}").headers["cache-control"] == "private, max-age=31536000, immutable"
    assert client.get(f"{path}?v=older").headers["cache-control"] == "private, no-cache"

    write(project.tomogram("TS_1"), ramp()[::-1].copy())
    replaced = client.get(path, headers={"if-none-match": etag})
    assert replaced.status_code == 200 and replaced.headers["etag"] != etag
    assert grey_of(replaced.content)[4, 5] < grey_of(first.content)[4, 5]
    assert client.get(f"{path}?v={tag}").headers["cache-control"] == "private, no-cache"

    changed = ramp()
    with project.tomogram("TS_1").open("r+b") as file:  # in its place, of the same size
        file.seek(1024)
        file.write(changed.tobytes())
    os.utime(project.tomogram("TS_1"), ns=(1, 1))
    assert client.get(path).content == first.content


def test_what_does_not_exist(project: Project, client: TestClient) -> None:
    write(project.macromolecule("TS_1", "Membrane"), ramp("int8"))
    assert "no tomogram 'TS_2'" in error_of(client, "/api/tomograms/TS_2", 404)
    for name in ("TS_1__Membrane", "..", "%2e%2e", "TS_1.mrc", "ts_1", "*"):
        assert client.get(f"/api/tomograms/{name}/slices/0").status_code == 404
    assert "slice 6" in error_of(client, "/api/tomograms/TS_1/slices/6", 404)
    for text in ("-1", "1.0", "x", "١", "99999999999", "+1"):
        assert "no number" in error_of(client, f"/api/tomograms/TS_1/slices/{text}", 422)
    for slab in ("0", "102"):
        assert "1 to 101 slices" in error_of(client, f"/api/tomograms/TS_1/slices/0?slab={slab}", 422)
    for layer in (
        "output-Disc",
        "network-Disc",
        "Membrane",
        "macromolecule-Density",
        "macromolecule-_",
        "output-..%5c",
    ):
        assert "no layer" in error_of(client, f"/api/tomograms/TS_1/layers/{layer}/0", 404)
    assert "slice 6" in error_of(client, "/api/tomograms/TS_1/layers/macromolecule-Membrane/6", 404)


def test_files_that_cannot_be_shown(project: Project, client: TestClient) -> None:
    path = project.tomogram("TS_2")
    cases = {
        b"": "is empty",
        b"x" * 2000: "is no MRC file",
        project.tomogram("TS_1").read_bytes()[:-1]: "is cut short: 1 bytes are missing",
    }
    for content, part in cases.items():
        path.write_bytes(content)
        for address in ("/api/tomograms/TS_2/slices/0", "/api/tomograms/TS_2/layers/x/0"):
            time.sleep(0.01)
            error_of(client, address, 422 if address.endswith("slices/0") else 404)
        assert part in error_of(client, "/api/tomograms/TS_2/slices/0", 422)
    write(path, np.full((10, 10, 10), -1, np.float32))
    assert "only the placeholder of an unfinished run" in error_of(client, "/api/tomograms/TS_2/slices/0", 422)
    path.unlink()
    assert "There is no file" in error_of(client, "/api/tomograms/TS_2/slices/0", 422)
    assert client.get("/api/tomograms/TS_1/slices/0").status_code == 200


@pytest.mark.parametrize(
    ("kind", "dtype", "one"),
    [("output", "float32", 1.0), ("output", "int8", 127), ("output", "uint8", 255),
     ("macromolecule", "float32", 1.0), ("macromolecule", "int8", 127), ("macromolecule", "uint8", 255)],
)  # fmt: skip
def test_layers_reach_from_0_to_255_for_0_to_1(
    project: Project, client: TestClient, kind: str, dtype: str, one: float
) -> None:
    shares = np.linspace(0, 1, 6 * 8 * 10).reshape(SIZE)
    title = {"output": "Disc", "macromolecule": "Membrane"}[kind]
    path = project.output("TS_1", title) if kind == "output" else project.macromolecule("TS_1", title)
    write(path, (shares * one).astype(dtype))
    for z in (0, 4):
        answer = client.get(f"/api/tomograms/TS_1/layers/{kind}-{title}/{z}")
        assert answer.headers["content-type"] == "image/png"
        np.testing.assert_allclose(grey_of(answer.content), 255 * shares[z], atol=2.1)


def test_a_mask_is_0_and_255(project: Project, client: TestClient) -> None:
    mask = np.zeros(SIZE, np.int8)
    mask[2, 3, 4] = 1
    write(project.macromolecule("TS_1", "Membrane"), mask)
    grey = grey_of(client.get("/api/tomograms/TS_1/layers/macromolecule-Membrane/2").content)
    np.testing.assert_array_equal(grey, np.where(mask[2], 255, 0))
    write(project.output("TS_1", "Disc"), mask)  # an output of next to nothing is none
    grey = grey_of(client.get("/api/tomograms/TS_1/layers/output-Disc/2").content)
    assert grey.max() == 2


def test_values_that_a_segmentation_cannot_have(project: Project, client: TestClient) -> None:
    write(project.macromolecule("TS_1", "Membrane"), ramp())
    sentence = error_of(client, "/api/tomograms/TS_1/layers/macromolecule-Membrane/0", 422)
    assert "has values from 0 to 53, which a segmentation of float32 cannot have" in sentence


def test_a_binned_layer_keeps_its_own_size(project: Project, client: TestClient) -> None:
    volume = np.zeros((3, 4, 5), np.int8)
    volume[2] = 127
    write(project.output("TS_1", "Disc"), volume)
    shown = [grey_of(client.get(f"/api/tomograms/TS_1/layers/output-Disc/{z}").content) for z in range(6)]
    assert all(image.shape == (4, 5) for image in shown)
    assert [int(image[0, 0]) for image in shown] == [0, 0, 0, 0, 255, 255]


@pytest.mark.parametrize(("n_slices", "factor"), [(255, 2), (256, 2), (7, 3), (10, 1), (11, 4)])
def test_slices_of_binned_layers(n_slices: int, factor: int) -> None:
    n_layer = -(-n_slices // factor)
    assert [slice_of_layer(z, n_slices, n_layer) for z in range(n_slices)] == [z // factor for z in range(n_slices)]


def test_a_share_is_above_a_hundredth_exactly_where_its_grey_is() -> None:
    levels = np.arange(101, dtype=np.float32) / np.float32(100)
    near = [np.nextafter(levels, np.float32(side)) for side in (0, 1)]
    anywhere = np.random.default_rng(0).random(10_000, dtype=np.float32)
    share = np.concatenate([levels, *near, anywhere])[None]
    grey = share_to_grey(share)
    for hundredth, level in enumerate(levels):
        assert np.array_equal(grey > 255 * (hundredth / 100), share > level)
    assert np.abs(grey - 255.0 * share).max() <= 1


def test_slices_of_layers_of_odd_depth() -> None:
    found = [slice_of_layer(z, 10, 7) for z in range(10)]
    assert found == sorted(found) and (found[0], found[-1]) == (0, 6)
    assert [slice_of_layer(z, 3, 6) for z in range(3)] == [0, 2, 4]


def test_the_network_speaks(
    make_project: Callable[..., Project], random_network: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_project(tomograms=("TS_1",))
    weights, card = random_network("single", ("Disc",))
    save_network(project.single_network("Disc"), weights, card)
    app = FastAPI()
    app.include_router(slice_routes(Pictures(lambda: project)))
    answer_errors(app)
    with TestClient(app) as client:
        layers = client.get("/api/tomograms/TS_1").json()["layers"]
        assert {"id": "network-Disc", "title": "Disc", "kind": "network"} in layers
        answer = client.get("/api/tomograms/TS_1/layers/network-Disc/5")
        assert answer.status_code == 200, answer.text
        from pom.networks.devices import Devices
        from pom.workflow.slice_preview import SlicePreview

        expected = SlicePreview(project, Devices()).predict("TS_1", "Disc", 5)
        assert np.abs(grey_of(answer.content) - 255.0 * expected).max() <= 1
        etag = answer.headers["etag"]
        assert (
            client.get("/api/tomograms/TS_1/layers/network-Disc/5", headers={"if-none-match": etag}).status_code == 304
        )
        save_network(project.single_network("Disc"), weights, card)
        assert client.get("/api/tomograms/TS_1/layers/network-Disc/5").headers["etag"] != etag


def test_the_newest_goes_first_and_the_oldest_are_dropped() -> None:
    async def here() -> bool:
        return False

    async def away() -> bool:
        return True

    async def scroll() -> tuple[list[int], list[int], list[object]]:
        newest, hold, order = Newest(1, 3), threading.Event(), []

        def work(number: int) -> int:
            if number == 0:
                hold.wait(10)
            order.append(number)
            return number

        tasks = [asyncio.create_task(newest.do(partial(work, number), here)) for number in range(6)]
        tasks.append(asyncio.create_task(newest.do(partial(work, 6), away)))
        await asyncio.sleep(0.05)
        hold.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert await newest.do(lambda: 7, here) == 7
        done = [result for result in results if isinstance(result, int)]
        return order, done, [result for result in results if not isinstance(result, int)]

    order, done, dropped = asyncio.run(scroll())
    assert order == [0, 5, 4]
    assert done == [0, 4, 5]
    assert [type(each) for each in dropped] == [DroppedError] * 4


def test_a_cancelled_wait_and_a_failure_pass_the_turn_on() -> None:
    async def here() -> bool:
        return False

    def fail() -> None:
        raise PomError("no")

    async def scroll() -> None:
        newest, hold = Newest(1, 10), threading.Event()
        first = asyncio.create_task(newest.do(lambda: hold.wait(10), here))
        await asyncio.sleep(0.01)
        waiting = [asyncio.create_task(newest.do(lambda: True, here)) for _ in range(3)]
        failing = asyncio.create_task(newest.do(fail, here))
        await asyncio.sleep(0.01)
        waiting[1].cancel()
        hold.set()
        assert await first and await waiting[0] and await waiting[2]
        with pytest.raises(PomError):
            await failing
        assert await asyncio.wait_for(newest.do(lambda: 1, here), 5) == 1

    asyncio.run(scroll())


def test_what_is_kept_has_a_bound() -> None:
    kept: PictureCache[int] = PictureCache(100)
    for number in range(10):
        kept.put(number, bytes(30))
        assert kept.get(0) is not None or number == 0
    assert [number for number in range(10) if kept.get(number) is not None] == [0, 8, 9]
    kept.put(11, bytes(101))
    assert kept.get(11) is None and kept.get(0) is None


def test_a_tomogram_is_prepared_for_the_networks(
    make_project: Callable[..., Project], random_network: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one that nobody looks at any more; and slices come meanwhile, however long torch takes to load."""
    project = make_project(tomograms=("TS_1", "TS_2"))
    pictures = Pictures(lambda: project)
    measured: list[str] = []
    loading, go_on = threading.Event(), threading.Event()

    def measure(channel: str, path: Path, *rest: Any) -> Any:
        measured.append(path.name)
        return measure_scale(channel, path, *rest)

    def choose(explicit: str | None, configured: str) -> Devices:
        loading.set()
        assert go_on.wait(10)
        return Devices()

    monkeypatch.setattr(slice_preview, "measure_scale", measure)
    monkeypatch.setattr(devices, "choose_devices", choose)

    async def look() -> None:
        async def gone() -> bool:
            return False

        async def passed() -> bool:
            return True

        await pictures.prepare("TS_1", gone)  # no network yet
        save_network(project.single_network("Disc"), *random_network("single", ("Disc",)))
        preparing = asyncio.gather(pictures.prepare("TS_1", gone), pictures.prepare("TS_2", passed))
        assert await asyncio.to_thread(loading.wait, 10)
        assert await asyncio.to_thread(pictures.grey("TS_2", 3, 1).make)
        go_on.set()
        await preparing

    asyncio.run(look())
    assert measured == ["TS_1.mrc", "TS_1__Membrane.mrc"]
    assert pictures.layer("TS_1", "network-Disc", 3).make() and len(measured) == 2
