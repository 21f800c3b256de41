"""Outputs in an OME-Zarr as layers over their tomogram."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from pom.app.answers import answer_errors
from pom.app.slices.pictures import Pictures
from pom.app.slices.routes import slice_routes
from pom.io.mrc import MrcWriter
from pom.project.configuration import Configuration
from pom.project.paths import Project
from pom.workflow.export import export

SHAPE = (6, 8, 10)


def write(path: Path, volume: NDArray[Any]) -> None:
    depth, height, width = volume.shape
    with MrcWriter(path, (depth, height, width), volume.dtype, (15.68,) * 3) as writer:
        writer.write(volume)


def segment(project: Project, step: int) -> None:
    """Outputs that are only in the store: slice z of Disc is ``step`` * z everywhere."""
    disc = np.broadcast_to(step * np.arange(3, dtype=np.int8)[:, None, None], (3, 4, 5))
    for title, volume in {"Disc": disc, "Unknown": np.zeros_like(disc)}.items():
        write(project.output("TS_1", title), volume)
    export(project, probabilities=True)
    for title in ("Disc", "Unknown"):
        project.output("TS_1", title).unlink()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path, Configuration(ontologies=("Disc",)))
    write(project.tomogram("TS_1"), np.zeros(SHAPE, np.float32))
    segment(project, 50)
    return project


@pytest.fixture
def client(project: Project) -> Iterator[TestClient]:
    app = FastAPI()
    app.include_router(slice_routes(Pictures(lambda: project)))
    answer_errors(app)
    with TestClient(app) as client:
        yield client


def grey(client: TestClient, z: int) -> int:
    answer = client.get(f"/api/tomograms/TS_1/layers/output-Disc/{z}")
    assert answer.status_code == 200, answer.text
    values = np.unique(np.asarray(Image.open(io.BytesIO(answer.content))))
    assert len(values) == 1
    return int(values[0])


def test_they_are_layers_and_seen_to_change(client: TestClient, project: Project) -> None:
    layers = client.get("/api/tomograms/TS_1").json()["layers"]
    assert [layer["id"] for layer in layers] == ["output-Disc", "output-Unknown"]
    # Slice 5 of the tomogram is slice 2 of the binned output; 127 stands for 1.
    assert grey(client, 5) == pytest.approx(255 * 100 / 127, abs=1)
    segment(project, 20)
    assert grey(client, 5) == pytest.approx(255 * 40 / 127, abs=1)
