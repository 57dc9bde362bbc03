"""Surface elements (surfels): the pieces of the surface between the voxels, and their areas.

DeepMind's surface metrics (Nikolov et al., J Med Internet Res 23, 2021; package ``surface-distance``) count how much
surface there is, not how many voxels lie on it. Wherever the corners of voxels meet, the 2 x 2 x 2 voxels around that
point (2 x 2 in 2-D) form a neighbourhood, read as a binary number, its code. A code that is neither empty nor full has
a piece of surface, the surfel, whose area depends on the code and the spacing alone.
"""

from collections.abc import Sequence
from functools import cache
from itertools import product

import numpy as np
from jaxtyping import Bool, Float64, Integer, UInt8
from skimage.measure import marching_cubes

_CODES_3D = 256


def neighbourhood_codes(mask: Bool[np.ndarray, "*spatial"]) -> UInt8[np.ndarray, "*corners"]:
    """The code of the neighbourhood around every corner of a voxel.

    Voxel ``(i, j, k)`` of a 2 x 2 x 2 neighbourhood is bit ``4 i + 2 j + k``; of a 2 x 2 one, ``(j, k)`` is bit
    ``2 j + k``. What lies outside the image is background.

    Args:
        mask: boolean mask ``(X, Y)`` or ``(X, Y, Z)``.

    Returns:
        Codes, one more along every axis than there are voxels: 0 to 15 in 2-D, 0 to 255 in 3-D.
    """
    padded = np.pad(mask, 1).view(np.uint8)
    codes = np.zeros([length + 1 for length in mask.shape], dtype=np.uint8)
    for bit, offsets in enumerate(product((0, 1), repeat=mask.ndim)):
        codes |= padded[tuple(slice(o, o + n) for o, n in zip(offsets, codes.shape, strict=True))] << np.uint8(bit)
    return codes


def is_surfel(codes: UInt8[np.ndarray, "*corners"]) -> Bool[np.ndarray, "*corners"]:
    """Which neighbourhoods are neither empty nor full, so that a surface runs through them."""
    full = np.uint8(2 ** (2**codes.ndim) - 1)
    return (codes > 0) & (codes < full)


def surfel_areas_mm2(spacing_mm: Sequence[float]) -> Float64[np.ndarray, " codes"]:
    """Area of the surfel of every code.

    The surface within a neighbourhood is that of marching cubes (Lorensen and Cline, SIGGRAPH 1987) through the middles
    of the edges between foreground and background. As in that paper, a code and its complement have the same surface,
    so that swapping foreground and background changes no area; the code with fewer voxels is taken.

    Args:
        spacing_mm: distance of neighbouring voxels along each of two or three axes, in mm.

    Returns:
        In 3-D 256 areas in mm^2. In 2-D 16 lengths of contour in mm.
    """
    if len(spacing_mm) == 2:
        # A contour of some length is a cylinder of height 1 mm and that area, in both of whose layers its code is met.
        return surfel_areas_mm2([1.0, *spacing_mm])[np.arange(16) * 0b0001_0001]
    # Along an axis that is stretched, the area vector (normal times area) of a triangle stays as it is.
    stretch = np.prod(spacing_mm) / np.asarray(spacing_mm)
    vectors, codes = _triangles()
    return np.bincount(codes, np.linalg.norm(vectors * stretch, axis=1), minlength=_CODES_3D)


@cache
def _triangles() -> tuple[Float64[np.ndarray, "triangles 3"], Integer[np.ndarray, " triangles"]]:
    """Area vectors, for a spacing of 1, of the triangles of all codes, and the code of each."""
    vectors: list[Float64[np.ndarray, "_triangles 3"]] = []
    codes: list[int] = []
    bits = 1 << np.arange(8).reshape(2, 2, 2)
    for code in range(1, _CODES_3D - 1):
        voxels = (code & bits) > 0
        if np.count_nonzero(voxels) > 4:
            voxels = ~voxels
        vertices, triangles, _, _ = marching_cubes(voxels.astype(np.float32), level=0.5, method="lorensen")
        first, second, third = np.moveaxis(vertices.astype(np.float64)[triangles], 1, 0)
        vectors.append(np.cross(second - first, third - first) / 2)
        codes += [code] * len(triangles)
    return np.concatenate(vectors), np.array(codes)
