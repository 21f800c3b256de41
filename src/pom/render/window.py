"""Draws triangles and lines with VTK, without a display: colour and depth of what is nearest, pixel by pixel."""

import os
import sys
from collections.abc import Sequence
from ctypes.util import find_library
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from pom.errors import PomError
from pom.render.arrays import from_vtk
from pom.render.camera import FIELD_OF_VIEW, Camera, Vector
from pom.render.surfaces import Surface, polydata

if TYPE_CHECKING:
    from vtkmodules.vtkRenderingCore import vtkActor, vtkRenderWindow

Colour = tuple[float, float, float]
"""Red, green and blue, 0..1."""

WINDOW = "VTK_DEFAULT_OPENGL_WINDOW"
"""The environment variable by which VTK chooses how it gets at OpenGL."""
OSMESA_WINDOW = "vtkOSOpenGLRenderWindow"
AMBIENT, DIFFUSE, SPECULAR, SHININESS = 0.30, 0.80, 0.14, 22.0
LIGHTS = (((-0.55, 0.65, 1.0), 0.67), ((0.1, -0.25, 1.0), 0.41))
"""Where light comes from, in directions of the picture (right, up, towards the eye), and how much."""


class NoOpenGLError(PomError):
    """The machine has nothing that VTK could draw with."""


@dataclass(frozen=True)
class Layer:
    """What was drawn."""

    colour: NDArray[np.uint8]
    """(height, width, 3), from the top; white where there is nothing."""
    depth: NDArray[np.float32]
    """(height, width), how far off along the direction of view; infinite where there is nothing."""


class Window:
    """A square picture in memory, drawn anew again and again; a context manager.

    Args:
        side: pixels.

    Raises:
        NoOpenGLError: there is nothing to draw with.
    """

    def __init__(self, side: int) -> None:
        # An X display of somebody's own machine would be asked first, and be slower where it answers.
        if sys.platform == "linux":
            os.environ.setdefault(WINDOW, "vtkEGLRenderWindow")
        import vtkmodules.vtkRenderingOpenGL2  # noqa: F401  (the classes below are found through it)
        from vtkmodules.vtkRenderingCore import vtkRenderer, vtkRenderWindow

        self.side = side
        self._renderer = vtkRenderer()
        self._renderer.SetBackground(1.0, 1.0, 1.0)
        self._renderer.AutomaticLightCreationOff()
        self._window = vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetSize(side, side)
        self._window.AddRenderer(self._renderer)
        if not _has_opengl(self._window):
            raise NoOpenGLError(
                "There is no OpenGL to draw with: install Mesa's EGL (Debian and Ubuntu: libegl1 and libgl1-mesa-dri)."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._window.Finalize()

    def draw_surfaces(self, surfaces: Sequence[tuple[Surface, Colour]], camera: Camera) -> Layer:
        """Draws surfaces, lit and opaque."""
        return self._draw([_surface_actor(surface, colour) for surface, colour in surfaces], camera)

    def draw_box(self, size: Vector, colour: Colour, width: float, camera: Camera) -> Layer:
        """Draws the twelve edges of a box from (0, 0, 0) to ``size`` (x, y, z); ``width`` in pixels."""
        from vtkmodules.vtkCommonCore import vtkPoints
        from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
        from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper

        corners = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
        points, lines = vtkPoints(), vtkCellArray()
        for corner in corners:
            points.InsertNextPoint(*(np.array(corner) * size))
        for first, one in enumerate(corners):
            for second, other in enumerate(corners[:first]):
                if sum(a != b for a, b in zip(one, other, strict=True)) == 1:
                    lines.InsertNextCell(2, (first, second))
        data = vtkPolyData()
        data.SetPoints(points)
        data.SetLines(lines)
        mapper = vtkPolyDataMapper()
        mapper.SetInputData(data)
        actor = vtkActor()
        actor.SetMapper(mapper)
        actor.GetProperty().SetColor(*colour)
        actor.GetProperty().SetLineWidth(width)
        actor.GetProperty().LightingOff()
        return self._draw([actor], camera)

    def _draw(self, actors: "Sequence[vtkActor]", camera: Camera) -> Layer:
        self._aim(camera)
        for actor in actors:
            self._renderer.AddActor(actor)
        self._window.Render()
        for actor in actors:
            self._renderer.RemoveActor(actor)
        return Layer(self._pixels(), self._depths(camera))

    def _aim(self, camera: Camera) -> None:
        from vtkmodules.vtkRenderingCore import vtkLight

        view = self._renderer.GetActiveCamera()
        view.SetPosition(*camera.eye)
        view.SetFocalPoint(*camera.focus)
        view.SetViewUp(*camera.up)
        view.SetViewAngle(FIELD_OF_VIEW)
        view.SetClippingRange(camera.near, camera.far)
        self._renderer.RemoveAllLights()
        for (right, up, near), strength in LIGHTS:
            light = vtkLight()
            towards = right * camera.right + up * camera.up - near * camera.forward
            light.SetPosition(*(camera.focus + towards))
            light.SetFocalPoint(*camera.focus)
            light.SetIntensity(strength)
            light.PositionalOff()
            self._renderer.AddLight(light)

    def _pixels(self) -> NDArray[np.uint8]:
        from vtkmodules.vtkCommonCore import vtkUnsignedCharArray

        values, last = vtkUnsignedCharArray(), self.side - 1
        self._window.GetPixelData(0, 0, last, last, 0, values, 0)
        pixels: NDArray[np.uint8] = from_vtk(values).reshape(self.side, self.side, 3)[::-1].copy()
        return pixels

    def _depths(self, camera: Camera) -> NDArray[np.float32]:
        from vtkmodules.vtkCommonCore import vtkFloatArray

        values, last = vtkFloatArray(), self.side - 1
        self._window.GetZbufferData(0, 0, last, last, values)
        stored = from_vtk(values).reshape(self.side, self.side)[::-1]
        # What is stored goes from 0, near, to 1, far, as one over the depth does.
        from_far = np.float32(camera.far) - stored * np.float32(camera.far - camera.near)
        depth: NDArray[np.float32] = np.float32(camera.near * camera.far) / from_far
        depth[stored >= 1] = np.inf
        return depth


def _has_opengl(window: "vtkRenderWindow") -> bool:
    """Whether a window can be drawn in; VTK ends the process where it tries in vain."""
    if window.GetClassName() == OSMESA_WINDOW:  # VTK's last resort, which it takes to be there
        return find_library("OSMesa") is not None
    return bool(window.SupportsOpenGL())


def _surface_actor(surface: Surface, colour: Colour) -> "vtkActor":
    from vtkmodules.vtkRenderingCore import vtkActor, vtkPolyDataMapper

    mapper = vtkPolyDataMapper()
    mapper.SetInputData(polydata(surface))
    mapper.ScalarVisibilityOff()
    actor = vtkActor()
    actor.SetMapper(mapper)
    look = actor.GetProperty()
    look.SetColor(*colour)
    look.SetAmbient(AMBIENT)
    look.SetDiffuse(DIFFUSE)
    look.SetSpecular(SPECULAR)
    look.SetSpecularPower(SHININESS)
    look.SetInterpolationToPhong()
    return actor
