"""Numbers to VTK and back; both look at the same memory."""

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from vtkmodules.vtkCommonCore import vtkDataArray


def to_vtk(numbers: NDArray[Any]) -> "vtkDataArray":
    """An array of one or two axes, the second being the components, as VTK has it."""
    from vtkmodules.util.numpy_support import numpy_to_vtk

    return numpy_to_vtk(numbers)  # type: ignore[no-untyped-call, no-any-return]


def from_vtk(array: "vtkDataArray") -> NDArray[Any]:
    """The numbers of an array of VTK, which must live as long as they are looked at."""
    from vtkmodules.util.numpy_support import vtk_to_numpy

    return vtk_to_numpy(array)  # type: ignore[no-untyped-call, no-any-return]
