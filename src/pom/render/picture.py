"""Puts a picture together: surfaces, seen-through ones, clouds, and the edges of the box that they lie in."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pixels

from pom.render.camera import FIELD_OF_VIEW, Camera, Vector
from pom.render.clouds import Cloud, draw_clouds, middle_depths
from pom.render.shading import hollows, outlines
from pom.render.surfaces import Surface
from pom.render.window import Colour, Layer, Window
from pom.volumes.binning import bin_mean

FINER = 2
"""Everything is drawn so many times as large as it is in the end, for smooth edges."""
LARGEST_FINER = 3000
"""Pixels: pictures larger than half of this are drawn as large as they are."""
EDGES: Colour = (0.62, 0.64, 0.68)
"""The colour of the box's edges."""
EDGE_WIDTH = 1.3
"""In pixels of a picture 1024 pixels wide."""
CLOUD_PIXEL = 4
"""The side of a cloud's pixel, in pixels of what is drawn."""
OUTLINE_DARK = 0.45
"""How dark the outline of a thing is that is seen through."""
BAND = 128
"""Rows put together at a time, so that they stay in the processor's cache."""

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Solid:
    """A surface as it is to be drawn."""

    surface: Surface
    colour: Colour
    alpha: float = 1.0
    """0..1; below 1 what is behind it shows through."""


@dataclass(frozen=True)
class Outlines:
    """How things are set off from what is behind them."""

    alpha: float = 0.5
    """0..1: how dark the lines are."""
    threshold: float = 0.01
    """Of the box's longest side: how far off the background must be."""


@dataclass(frozen=True)
class Scene:
    """What is in a box from (0, 0, 0) to ``size``, (x, y, z) in nm."""

    size: Vector
    solids: Sequence[Solid] = ()
    clouds: Sequence[Cloud] = ()
    """Of one shape; each fills the same part of the box."""
    outlines: Outlines = field(default_factory=Outlines)
    clouds_within: tuple[Vector, Vector] | None = None
    """The part that clouds fill: its first corner and its size, (x, y, z) in nm; None for all of the box."""


def window_side(side: int) -> int:
    """How large a window must be for a picture of so many pixels."""
    return side * FINER if side * FINER <= LARGEST_FINER else side


def draw_scene(window: Window, scene: Scene, camera: Camera, side: int) -> NDArray[np.uint8]:
    """Draws a picture on white.

    Args:
        window: of ``window_side(side)`` pixels.
        scene: what.
        camera: from where.
        side: pixels, of the picture.

    Returns:
        (side, side, 3), from the top.
    """
    threshold = scene.outlines.threshold * float(scene.size.max())
    opaque = [(solid.surface, solid.colour) for solid in scene.solids if solid.alpha >= 1]
    base = window.draw_surfaces(opaque, camera)
    edges = window.draw_box(scene.size, EDGES, EDGE_WIDTH * window.side / 1024, camera)
    glass = [
        (window.draw_surfaces([(solid.surface, solid.colour)], camera), solid.alpha)
        for solid in scene.solids
        if 0 < solid.alpha < 1
    ]
    picture = base.colour * np.float32(1 / 255)
    picture *= (_light(base, camera) * (1 - scene.outlines.alpha * outlines(base.depth, threshold)))[..., None]
    panes = [_pane(layer, alpha, _light(layer, camera), outlines(layer.depth, threshold)) for layer, alpha in glass]
    panes.append(_pane(edges, 1.0))
    if scene.clouds:
        corner, size = scene.clouds_within or (np.zeros(3), scene.size)
        look = camera.seen_from(corner)
        middle = _enlarged(middle_depths(window.side // CLOUD_PIXEL, size, look), window.side)
        _lay_over(picture, base.depth, [pane.where(pane.depth > middle) for pane in panes])
        _lay_clouds(picture, scene.clouds, size, look, base.depth)
        panes = [pane.where(pane.depth <= middle) for pane in panes]
    _lay_over(picture, base.depth, panes)
    return _reduced(picture, side)


@dataclass(frozen=True)
class _Pane:
    """What is laid over a picture, pixel by pixel."""

    colour: Image
    """(height, width, 3), 0..1."""
    cover: Image
    """(height, width), 0..1."""
    depth: Image
    """(height, width)."""

    def where(self, wanted: NDArray[np.bool_]) -> "_Pane":
        """The same with nothing elsewhere."""
        return _Pane(self.colour, self.cover * wanted, self.depth)


def _pane(layer: Layer, alpha: float, light: Image | None = None, line: Image | None = None) -> _Pane:
    """A layer that is seen through; its outline less so, and darker."""
    colour = layer.colour * np.float32(1 / 255)
    cover = np.where(np.isfinite(layer.depth), np.float32(alpha), np.float32(0))
    if light is not None:
        colour *= light[..., None]
    if line is not None:
        colour *= (1 - np.float32(OUTLINE_DARK) * line)[..., None]
        np.maximum(cover, line * np.float32(alpha + (1 - alpha) / 2), out=cover)
    return _Pane(colour, cover, layer.depth)


def _light(layer: Layer, camera: Camera) -> Image:
    """How much light reaches what was drawn; looked at no finer than the picture is in the end."""
    coarse = layer.depth[::FINER, ::FINER]
    across = 2 * math.tan(math.radians(FIELD_OF_VIEW / 2)) * float(np.linalg.norm(camera.focus - camera.eye))
    light = hollows(coarse, across / len(coarse))
    height, width = layer.depth.shape
    return light.repeat(FINER, axis=0).repeat(FINER, axis=1)[:height, :width]


def _lay_over(picture: Image, ground: Image, panes: Sequence[_Pane]) -> None:
    """Lays panes over a picture, at each pixel from the farthest to the nearest; none behind the ``ground``'s depth."""
    for top in range(0, len(picture), BAND):
        rows = slice(top, top + BAND)
        there = [pane for pane in panes if pane.cover[rows].any()]
        if not there:
            continue
        depths = np.stack([pane.depth[rows] for pane in there])
        covers = np.stack([pane.cover[rows] for pane in there]) * (depths < ground[rows])
        colours = np.stack([pane.colour[rows] for pane in there])
        if len(there) > 1:
            order = np.argsort(-depths, axis=0)
            covers = np.take_along_axis(covers, order, axis=0)
            colours = np.take_along_axis(colours, order[..., None], axis=0)
        for cover, colour in zip(covers[..., None], colours, strict=True):
            picture[rows] += cover * (colour - picture[rows])


def _lay_clouds(picture: Image, clouds: Sequence[Cloud], size: Vector, camera: Camera, ground: Image) -> None:
    """Lays the clouds over a picture; they are soft, so that a coarser look will do."""
    colour, cover = draw_clouds(clouds, size, camera, ground[::CLOUD_PIXEL, ::CLOUD_PIXEL])
    picture *= 1 - _enlarged(cover, len(picture))[..., None]
    for part in range(3):
        picture[..., part] += _enlarged(colour[..., part], len(picture))


def _enlarged(image: Image, side: int) -> Image:
    """(side, side), with soft steps."""
    return np.asarray(Pixels.fromarray(image).resize((side, side), Pixels.Resampling.BILINEAR))


def _reduced(picture: Image, side: int) -> NDArray[np.uint8]:
    """The picture at its final size, in 8 bits."""
    factor = len(picture) // side
    small = np.empty((side, side, 3), np.float32)
    for part in range(3):
        small[..., part] = bin_mean(picture[..., part], (factor, factor)) if factor > 1 else picture[..., part]
    pixels: NDArray[np.uint8] = np.clip(small * 255 + 0.5, 0, 255).astype(np.uint8)
    return pixels
