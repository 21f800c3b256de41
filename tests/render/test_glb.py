import json
import struct
from typing import Any

import numpy as np
import pytest

from pom.render.glb import Part, glb
from pom.render.surfaces import EMPTY, Surface, surface


def chunks(content: bytes) -> tuple[dict[str, Any], bytes]:
    magic, version, length = struct.unpack("<4sII", content[:12])
    assert (magic, version, length) == (b"glTF", 2, len(content))
    size, kind = struct.unpack("<II", content[12:20])
    assert kind == 0x4E4F534A
    assert size % 4 == 0
    rest = content[20 + size :]
    if rest:
        assert struct.unpack("<II", rest[:8]) == (len(rest) - 8, 0x004E4942)
    return json.loads(content[20 : 20 + size]), rest[8:]


def read(document: dict[str, Any], binary: bytes, number: int) -> Any:
    accessor = document["accessors"][number]
    view = document["bufferViews"][accessor["bufferView"]]
    kind = {5126: "<f4", 5125: "<u4"}[accessor["componentType"]]
    values = np.frombuffer(binary[view["byteOffset"] :][: view["byteLength"]], kind)
    return values.reshape(accessor["count"], -1)


def cube() -> Surface:
    volume = np.zeros((8, 10, 12), np.float32)
    volume[2:6, 3:7, 4:8] = 1
    return surface(volume, 128, 0, (10.0, 10.0, 10.0))


def test_a_surface_comes_back_as_it_was() -> None:
    made = cube()
    document, binary = chunks(glb([Part("Vesicle", made, (1.0, 0.5, 0.0), 0.4)]))
    primitive = document["meshes"][0]["primitives"][0]
    assert np.array_equal(read(document, binary, primitive["attributes"]["POSITION"]), made.vertices)
    assert np.array_equal(read(document, binary, primitive["attributes"]["NORMAL"]), made.normals)
    assert np.array_equal(read(document, binary, primitive["indices"]).reshape(-1, 3), made.faces)
    corners = document["accessors"][primitive["attributes"]["POSITION"]]
    assert corners["min"] == pytest.approx(made.vertices.min(axis=0).tolist())
    assert corners["max"] == pytest.approx(made.vertices.max(axis=0).tolist())
    assert document["nodes"] == [{"name": "Vesicle", "mesh": 0}]
    assert document["materials"][0]["alphaMode"] == "BLEND"
    # Half the numbers of a screen are about a fifth of the light.
    assert document["materials"][0]["pbrMetallicRoughness"]["baseColorFactor"] == pytest.approx(
        [1, 0.214, 0, 0.4], abs=1e-3
    )


def test_two_surfaces_are_two_meshes_and_an_empty_one_is_none() -> None:
    parts = [Part("A", cube(), (1, 0, 0)), Part("Nothing", EMPTY, (0, 1, 0)), Part("B", cube(), (0, 0, 1))]
    document, binary = chunks(glb(parts))
    assert [mesh["name"] for mesh in document["meshes"]] == ["A", "B"]
    assert document["scenes"] == [{"nodes": [0, 1]}]
    assert document["buffers"] == [{"byteLength": len(binary)}]
    second = document["meshes"][1]["primitives"][0]
    assert np.array_equal(read(document, binary, second["attributes"]["POSITION"]), cube().vertices)
    assert "alphaMode" not in document["materials"][0]


def test_nothing_at_all_is_a_file_too() -> None:
    document, binary = chunks(glb([Part("Nothing", EMPTY, (0, 1, 0))]))
    assert binary == b""
    assert "meshes" not in document
    assert "buffers" not in document
    assert document["scenes"] == [{}]
