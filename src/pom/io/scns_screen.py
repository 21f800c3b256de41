"""What Ais needs to show an annotated tomogram whose volume it cannot find, as values for the pickle."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pom.io.scns_values import Held, find_global

# The older of the two names: every numpy that Ais runs with reads it.
_RECONSTRUCT = find_global("numpy.core.multiarray", "_reconstruct")
_ARRAY = find_global("numpy", "ndarray")
_TYPE = find_global("numpy", "dtype")
_TRANSFORM = find_global("Ais.core.se_frame", "Transform")
_N_BINS = 40
_SHARES = (1.0, 99.0)
"""Percentiles of the image's values that are shown black and white."""


def held_array(array: NDArray[Any]) -> Held:
    """An array of numbers as numpy pickles it."""
    code = f"{array.dtype.kind}{array.dtype.itemsize}"
    order = "|" if array.dtype.itemsize == 1 else "<"
    held_type = Held(_TYPE, (code, False, True), (3, order, None, None, None, -1, -1, 0))
    raw = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    return Held(_RECONSTRUCT, (_ARRAY, (0,), b"b"), (1, array.shape, held_type, False, raw))


def screen_state(image: NDArray[np.float32], pixel_size: float) -> dict[object, object]:
    """The fields of a frame that shows ``image``, float32 (y, x), unmoved; ``pixel_size`` in nm."""
    height, width = image.shape
    image = np.nan_to_num(image, nan=0.0, posinf=0.0, neginf=0.0).astype(np.float32)
    low, high = (float(value) for value in np.percentile(image, _SHARES))
    counts, edges = np.histogram(image, _N_BINS)
    x, y = 0.5 * width, 0.5 * height
    transform: dict[object, object] = {
        "translation": held_array(np.zeros(2)),
        "rotation": 0.0,
        "scale": float(pixel_size),
        "matrix": held_array(np.eye(4)),
        "matrix_no_scale": held_array(np.eye(4)),
    }
    return {
        "data": held_array(image),
        "transform": Held(_TRANSFORM, (), transform, made_new=True),
        "contrast_lims": [low, high],
        "hist_vals": held_array(np.log(counts + 1).astype(np.float32)),
        "hist_bins": held_array(edges.astype(np.float32)),
        "corner_positions_local": [[-x, y], [-x, -y], [x, -y], [x, y]],
    }
