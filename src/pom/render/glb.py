"""Surfaces as GLB, the one-file form of glTF 2.0, which browsers and programs for molecules and films open.

Lengths are nm, and z points upwards in the file as in the tomogram; glTF itself speaks of metres and of y upwards,
so a program for films shows the box lying on its side.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from pom.render.surfaces import Surface
from pom.render.window import Colour

MAGIC, VERSION = b"glTF", 2
JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942
FLOAT, UNSIGNED = 5126, 5125
POINTS, NUMBERS = 34962, 34963
"""What the bytes are for: the properties of vertices, and which of them make a triangle."""


@dataclass(frozen=True)
class Part:
    """A named surface and how it looks."""

    title: str
    surface: Surface
    colour: Colour
    """(red, green, blue), 0..1, as a screen shows it."""
    alpha: float = 1.0
    """0..1; below 1 what is behind it shows through."""


def glb(parts: Sequence[Part]) -> bytes:
    """The content of a GLB file with a mesh of its own for each surface that has triangles."""
    made = _Document()
    for part in parts:
        if len(part.surface.faces):
            made.add(part)
    return made.content()


class _Document:
    """A glTF document that grows surface by surface."""

    def __init__(self) -> None:
        self._binary = b""
        self._json: dict[str, Any] = {
            "asset": {"version": "2.0", "generator": "Pom"}, "scene": 0, "scenes": [{"nodes": []}], "nodes": [],
            "meshes": [], "materials": [], "accessors": [], "bufferViews": [],
        }  # fmt: skip

    def add(self, part: Part) -> None:
        number = len(self._json["nodes"])
        made = part.surface
        attributes = {
            "POSITION": self._array(made.vertices.astype("<f4"), FLOAT, POINTS, ends=True),
            "NORMAL": self._array(made.normals.astype("<f4"), FLOAT, POINTS),
        }
        indices = self._array(made.faces.astype("<u4").reshape(-1), UNSIGNED, NUMBERS)
        primitive = {"attributes": attributes, "indices": indices, "material": number}
        self._json["meshes"].append({"name": part.title, "primitives": [primitive]})
        self._json["materials"].append(_material(part))
        self._json["nodes"].append({"name": part.title, "mesh": number})
        self._json["scenes"][0]["nodes"].append(number)

    def _array(self, array: NDArray[Any], kind: int, target: int, *, ends: bool = False) -> int:
        """Adds the values of an array; returns by which number they go."""
        view = {"buffer": 0, "byteOffset": len(self._binary), "byteLength": array.nbytes, "target": target}
        form = "SCALAR" if array.ndim == 1 else "VEC3"
        values: dict[str, Any] = {
            "bufferView": len(self._json["bufferViews"]), "componentType": kind, "count": len(array), "type": form,
        }  # fmt: skip
        if ends:
            values |= {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
        self._binary += array.tobytes()
        self._json["bufferViews"].append(view)
        self._json["accessors"].append(values)
        return len(self._json["accessors"]) - 1

    def content(self) -> bytes:
        # Of its lists none may be empty, and a buffer has bytes.
        held = {key: value for key, value in self._json.items() if value != []}
        if self._binary:
            held["buffers"] = [{"byteLength": len(self._binary)}]
        else:
            held["scenes"] = [{}]
        text = json.dumps(held, separators=(",", ":")).encode()
        chunks = _chunk(JSON_CHUNK, text + b" " * (-len(text) % 4))
        if self._binary:
            chunks += _chunk(BINARY_CHUNK, self._binary)
        return struct.pack("<4sII", MAGIC, VERSION, 12 + len(chunks)) + chunks


def _chunk(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", len(content), kind) + content


def _material(part: Part) -> dict[str, Any]:
    colour = [*(_linear(value) for value in part.colour), part.alpha]
    dull = {"baseColorFactor": colour, "metallicFactor": 0.0, "roughnessFactor": 0.7}
    material: dict[str, Any] = {"name": part.title, "pbrMetallicRoughness": dull}
    return {**material, "alphaMode": "BLEND"} if part.alpha < 1 else material


def _linear(value: float) -> float:
    """The light of a colour's part; glTF counts light, and a screen's numbers are closer to what the eye counts."""
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)
