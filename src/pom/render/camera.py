"""From where a box is looked at."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

FIELD_OF_VIEW = 26.0
"""Degrees, of the whole picture: little enough for lengths to be compared, and enough to see what is near."""
FILLED = 0.96
"""So much of the picture's width or height the box takes up."""
CLEAR = 1e-3
"""Of the distance: room before the nearest and behind the farthest corner."""

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """A place, and how the picture hangs; lengths are those of the box."""

    eye: Vector
    """(x, y, z)."""
    focus: Vector
    """(x, y, z), in the picture's middle."""
    up: Vector
    """(x, y, z), of length 1, square to the direction of view."""
    near: float
    """All of the box is farther off than this, along the direction of view."""
    far: float
    """And nearer than this."""

    @property
    def forward(self) -> Vector:
        """The direction of view, of length 1."""
        direction = self.focus - self.eye
        return np.asarray(direction / np.linalg.norm(direction))

    @property
    def right(self) -> Vector:
        """To where the picture's right is, of length 1."""
        return np.cross(self.forward, self.up)

    def seen_from(self, corner: Vector) -> "Camera":
        """The same camera where (x, y, z) are counted from ``corner``."""
        return replace(self, eye=self.eye - corner, focus=self.focus - corner)


def look_at_box(size: Vector, pitch: float, yaw: float, turn: float = 0.0, turns: Iterable[float] = ()) -> Camera:
    """A camera that has the whole of a box from (0, 0, 0) to ``size`` in its picture, from as near as can be.

    Angles are in degrees, as in published Pom. At pitch 0 and yaw 180 one looks down on the tomogram, against z, with
    x to the right and y upwards. A pitch below 0 lowers the eye towards the edge y = 0, and yaw carries it round the
    picture's upright axis, y. With ``turn`` box and picture are then turned about z.

    Args:
        size: (x, y, z).
        pitch: -90 to 90.
        yaw: any.
        turn: any.
        turns: from all of these too the box fits, at one distance: for a movie.
    """
    focus = size / 2
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]) * size
    out, up = _directions(pitch, yaw)
    distance = max(_distance(corners, *(_turned(vector, angle) for vector in (out, up))) for angle in (turn, *turns))
    out, up = _turned(out, turn), _turned(up, turn)
    depths = distance - corners @ out
    room = CLEAR * distance
    return Camera(focus + distance * out, focus, up, max(float(depths.min()) - room, room), float(depths.max()) + room)


def _directions(pitch: float, yaw: float) -> tuple[Vector, Vector]:
    """The directions from the box to the eye, and up."""
    tilt, round_ = math.radians(pitch), math.radians(yaw)
    out = np.array([math.cos(tilt) * math.sin(round_), math.sin(tilt), -math.cos(tilt) * math.cos(round_)])
    # The derivative by the pitch; y itself would not do for one who looks along y.
    up = np.array([-math.sin(tilt) * math.sin(round_), math.cos(tilt), math.sin(tilt) * math.cos(round_)])
    return out, up


def _turned(vector: Vector, angle: float) -> Vector:
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    x, y, z = vector
    return np.array([cosine * x - sine * y, sine * x + cosine * y, z])


def _distance(corners: Vector, out: Vector, up: Vector) -> float:
    """From how far all corners are in the picture."""
    half = FILLED * math.tan(math.radians(FIELD_OF_VIEW / 2))
    aside = np.maximum(abs(corners @ up), abs(corners @ np.cross(up, out)))
    return float((aside / half + corners @ out).max())
