"""How a page looks at a tomogram, and what of that the canvas is told."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import cast

from pom.app.annotate.canvas import CanvasFeature, CanvasLayer, CanvasProps, Tool
from pom.app.annotate.document import Version
from pom.app.slices.layers import Layer
from pom.io.annotation_store import StoredFeature
from pom.io.feature_library import USUAL_OPACITY


@dataclass
class LayerLook:
    """How a layer lies over the slice."""

    opacity: float = 0.5
    visible: bool = False


@dataclass
class View:
    """How one page looks at a tomogram; none of it is kept."""

    z: int = 0
    active: str = ""
    tool: str = "brush"
    brush: float = 40.0
    """In nm."""
    sensitivity: float = 0.5
    slab: int = 1
    low: int = 0
    high: int = 255
    inverted: bool = False
    blur: float = 0.0
    level: float = 0.5
    hidden: set[str] = field(default_factory=set)
    opacity: dict[str, float] = field(default_factory=dict)
    layers: dict[str, LayerLook] = field(default_factory=dict)


@dataclass(frozen=True)
class Shown:
    """The tomogram on the page."""

    name: str
    shape: tuple[int, int, int]
    voxel_size: float
    """In nm."""
    layers: tuple[Layer, ...]
    tag: str
    """Changes with the file."""


def canvas_props(
    view: View,
    features: Iterable[StoredFeature],
    layers: Iterable[Layer],
    version: Version | None,
    colour_of: Callable[[str], str],
) -> CanvasProps:
    """All that can change while a tomogram is shown, but for the slice, which the canvas goes to by itself.

    Args:
        view: of the page.
        features: of the tomogram.
        layers: that can be laid over a slice.
        version: the annotation as the page knows it; None where it may not change it.
        colour_of: the colour of a layer, by its title.
    """
    return {
        "may_edit": version is not None,
        "version": version,
        "features": [_feature(view, feature) for feature in features],
        "active": view.active or None,
        "tool": cast("Tool", view.tool),
        "brush_size": view.brush,
        "sensitivity": view.sensitivity,
        "slab": view.slab,
        "contrast": {"low": view.low, "high": view.high, "inverted": view.inverted},
        "blur": view.blur,
        "layers": [_layer(view, layer, colour_of(layer.title)) for layer in layers],
        "level": view.level,
    }


def _feature(view: View, feature: StoredFeature) -> CanvasFeature:
    return {
        "id": feature.id,
        "title": feature.title,
        "colour": feature.colour,
        "alpha": view.opacity.get(feature.id, USUAL_OPACITY),
        "visible": feature.id not in view.hidden,
        "box_size": feature.box_size,
        "boxes": {z: [[*centre] for centre in centres] for z, centres in feature.boxes.items()},
        "drawn": list(feature.drawn),
    }


def _layer(view: View, layer: Layer, colour: str) -> CanvasLayer:
    look = view.layers.get(layer.id, LayerLook())
    return {
        "id": layer.id,
        "title": layer.title,
        "kind": layer.kind,
        "colour": colour,
        "opacity": look.opacity,
        "visible": look.visible,
        "tag": layer.tag,
    }
