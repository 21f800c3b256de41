"""The drawing canvas as an element of a NiceGUI page; what is drawn goes over HTTP, not through this class."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, Unpack

from nicegui import ui
from nicegui.dependencies import register_esm
from nicegui.events import GenericEventArguments

from pom.app.annotate.document import Version

Tool = Literal["brush", "eraser", "polygon", "fill", "magic", "box", "accept", "pan"]
Saving = Literal["saved", "saving", "offline", "refused", "waiting", "held"]

_MODULES = Path(__file__).parent / "canvas"
# The address of the modules changes with them, for browsers keep what they have fetched.
register_esm("pom-canvas", _MODULES, max_time=max(path.stat().st_mtime for path in _MODULES.iterdir()))


class CanvasTomogram(TypedDict):
    """What is looked at."""

    name: str
    shape: Sequence[int]
    """(z, y, x)."""
    voxel_size_nm: float | Sequence[float]
    """One for all axes, or (z, y, x)."""
    tag: str
    """Changes with the file, so that browsers may keep the slices."""


class CanvasFeature(TypedDict):
    """One feature of the annotation."""

    id: str
    title: str
    colour: str
    """``#rrggbb``."""
    alpha: float
    """Opacity of its pixels, 0 to 1."""
    visible: bool
    box_size: int
    """Side of its boxes in pixels."""
    boxes: Mapping[int, Sequence[Sequence[float]]]
    """Per slice the centres [x, y]: read when the feature first appears; then the canvas knows better."""
    drawn: NotRequired[Sequence[int]]
    """The slices in which it has pixels: they are marked beside the z slider."""


class CanvasLayer(TypedDict):
    """One overlay."""

    id: str
    title: str
    kind: NotRequired[Literal["macromolecule", "output", "network"]]
    """What a network says can be accepted for the feature of the same title."""
    colour: str
    opacity: float
    visible: bool
    tag: NotRequired[str]
    """Changes with the layer, for instance when its network is trained again; else the tomogram's."""


class Contrast(TypedDict):
    """Grey values, 0 to 255, that are shown as black and as white."""

    low: int
    high: int
    inverted: bool


class CanvasProps(TypedDict, total=False):
    """What the page tells the canvas."""

    tomogram: CanvasTomogram
    session: str
    may_edit: bool
    version: Version | None
    """The annotation as the page last knew it while it could change it; None where it may not."""
    features: Sequence[CanvasFeature]
    active: str | None
    """Id of the feature that is drawn."""
    tool: Tool
    brush_size: float
    """Diameter in nm."""
    sensitivity: float
    """Of the magic brush, 0 to 1."""
    slab: int
    """Number of slices of which the mean is shown."""
    contrast: Contrast
    blur: float
    """Standard deviation in pixels."""
    layers: Sequence[CanvasLayer]
    """All that could be shown or accepted, visible or not."""
    level: float
    """Above it, 0 to 1, the accepted network says yes; exact in whole hundredths (see ``share_to_grey``)."""
    z: int
    """At first the middle slice."""


_DEFAULTS: CanvasProps = {
    "may_edit": False,
    "version": None,
    "features": [],
    "active": None,
    "tool": "brush",
    "brush_size": 10.0,
    "sensitivity": 0.3,
    "slab": 1,
    "contrast": {"low": 0, "high": 255, "inverted": False},
    "blur": 0.0,
    "layers": [],
    "level": 0.5,
}


class SliceCanvas(ui.element, component="canvas/slice_canvas.js"):
    """A slice of a tomogram with what is drawn on it.

    Events (``on(name, handler)`` before the page is sent, the value in ``event.args``):
        z (int), tool, brush (nm), active (feature id), contrast: a person changed it on the canvas.
        saving: ``Saving``.
        wanted: the name of another tomogram, to which a person wants to go.
        undo_depth: {undo, redo}, numbers of steps.

    ``run_method`` also calls undo, redo, fit, automatic_contrast, accept_in_boxes and show_keys, which do as the keys.
    """

    def __init__(self, **props: Unpack[CanvasProps]) -> None:
        super().__init__()
        self._props.update({**_DEFAULTS, "heard": {}, **props})
        self.on("state", self._hear)

    def show(self, **props: Unpack[CanvasProps]) -> None:
        """Changes what the canvas shows: one or more of ``CanvasProps``."""
        self._props.update(props)

    def _hear(self, event: GenericEventArguments) -> None:
        """Takes over what was changed in the browser, without sending it back there."""
        change: dict[str, Any] = event.args
        with self._props.suspend_updates():
            self._props[change["name"]] = change["value"]
            self._props["heard"] = {**self._props["heard"], change["name"]: change["count"]}

    def go_to(self, z: int, x: float | None = None, y: float | None = None) -> None:
        """Shows slice ``z``, with pixel (x, y) in the middle where both are given."""
        self.run_method("go_to", z, x, y)

    def read_again(self) -> None:
        """Reads the pixels anew, after a feature has come back; what can be undone stays."""
        self.run_method("read_again")

    def reload(self) -> None:
        """Reads pixels and boxes anew, after something else changed them; nothing can be undone then."""
        self.run_method("reload")
