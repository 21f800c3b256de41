"""The metadata of OME-Zarr 0.5: what stands under ``ome`` in the attributes of its groups.

https://ngff.openmicroscopy.org/0.5/
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pom.volumes.pyramid import Factors

VERSION = "0.5"
SPACE = ("z", "y", "x")
CHANNEL = "c"

Triple = tuple[float, float, float]
Colour = tuple[float, float, float]
"""(red, green, blue), 0..1."""


@dataclass(frozen=True)
class Grid:
    """Where the voxels of an image lie.

    ``voxel_size``: (z, y, x) in Angstrom. ``first``: the centre of the first voxel, (z, y, x) in Angstrom.
    """

    voxel_size: Triple
    first: Triple

    def binned(self, factors: Factors) -> "Grid":
        """The grid of the means over bins: the centre of the first bin lies farther in than that of its first voxel."""
        z, y, x = (size * factor for size, factor in zip(self.voxel_size, factors, strict=True))
        parts = zip(self.first, self.voxel_size, factors, strict=True)
        first_z, first_y, first_x = (first + (factor - 1) / 2 * size for first, size, factor in parts)
        return Grid((z, y, x), (first_z, first_y, first_x))


def multiscales(name: str, grids: Sequence[Grid], method: str, *, channels: bool = False) -> list[dict[str, Any]]:
    """An image of several levels, the largest first, in the arrays ``0``, ``1`` and so on.

    ``method``: how a level is made from the one before, in a word.
    """
    axes: list[dict[str, str]] = [{"name": axis, "type": "space", "unit": "angstrom"} for axis in SPACE]
    if channels:
        axes.insert(0, {"name": CHANNEL, "type": "channel"})
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [*([1.0] * channels), *grid.voxel_size]},
                {"type": "translation", "translation": [*([0.0] * channels), *grid.first]},
            ],
        }
        for level, grid in enumerate(grids)
    ]
    return [{"name": name, "type": method, "axes": axes, "datasets": datasets}]


def image(scales: list[dict[str, Any]], channels: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """An image with what a viewer needs to show it at once."""
    return {"version": VERSION, "multiscales": scales, "omero": {"channels": list(channels)}}


def channel(
    label: str, colour: Colour, shown: tuple[float, float], limits: tuple[float, float], *, active: bool
) -> dict[str, Any]:
    """How a viewer shows a channel: from black at ``shown[0]`` to its colour at ``shown[1]``; both within ``limits``.

    ``active``: whether it is shown to begin with.
    """
    window = {"min": limits[0], "max": limits[1], "start": shown[0], "end": shown[1]}
    return {"label": label, "color": _hexadecimal(colour), "window": window, "active": active}


def labels_group(names: Sequence[str]) -> dict[str, Any]:
    """The group that the label images lie in."""
    return {"version": VERSION, "labels": list(names)}


def label_image(scales: list[dict[str, Any]], classes: Mapping[int, tuple[str, Colour]]) -> dict[str, Any]:
    """A label image two groups below the image that it belongs to; by label the name and the colour."""
    colours = [
        {"label-value": value, "rgba": [*_bytes(colour), 255 if value else 0]} for value, (_, colour) in classes.items()
    ]
    properties = [{"label-value": value, "name": name} for value, (name, _) in classes.items()]
    details = {"colors": colours, "properties": properties, "source": {"image": "../../"}}
    return {"version": VERSION, "multiscales": scales, "image-label": details}


def _bytes(colour: Colour) -> list[int]:
    return [round(255 * part) for part in colour]


def _hexadecimal(colour: Colour) -> str:
    return bytes(_bytes(colour)).hex().upper()
