"""Distances between the surfaces of two masks, measured once and reduced in several ways.

Tools disagree on surface metrics because they disagree on what the surface is, how much each of its elements counts,
and what a percentile of two sets of distances is. Here the surface is a choice (`Surface`). The rest, beside MONAI 1.6,
MedPy 0.5, DeepMind's surface-distance 0.1, SimpleITK 2.5 and the scoring script of LiTS:

| | here | the same | differs |
| --- | --- | --- | --- |
| surface voxels | `"voxels"` | MONAI, MedPy | SimpleITK: every voxel of the mask |
| | `"voxels18"` | LiTS, MedPy with `connectivity=2` | |
| | `"surfels"` | surface-distance, MONAI with `use_subvoxels=True` | |
| HD | larger of both directions | MONAI, MedPy, surface-distance, LiTS | |
| HD95 | larger of both directions | MONAI, surface-distance | MedPy and papers that use it: `hd95_pooled_mm` |
| ASD | mean of one direction | MONAI, MedPy, surface-distance | |
| ASSD | mean of both directions pooled | MONAI, MedPy, LiTS | SimpleITK: mean of the two directed means |
| RMSD | both directions pooled | LiTS | |
| surface Dice | both directions pooled | MONAI, surface-distance | |

MONAI and MedPy take a spacing of 1 mm where none is given; here it must be given. What they make of empty masks, see
`rankseg_med.metrics.empty`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import edt
import numpy as np
from jaxtyping import Bool, Float32, Float64
from scipy import ndimage

from rankseg_med.masks import bounding_box
from rankseg_med.metrics._checks import check_masks, check_spacing, check_tolerance
from rankseg_med.metrics.surfels import is_surfel, neighbourhood_codes, surfel_areas_mm2

Surface: TypeAlias = Literal["voxels", "voxels18", "surfels"]
"""What the surface of a mask is.

- ``"voxels"``: the mask without its erosion by the face-connected structuring element (4 neighbours in 2-D, 6 in 3-D);
  distances run between voxel centres, and each voxel counts once. The surface of MONAI and MedPy.
- ``"voxels18"``: the same with neighbours across edges too (8 in 2-D, 18 in 3-D). The surface of the LiTS script.
- ``"surfels"``: the elements of `rankseg_med.metrics.surfels`; distances run between corners of voxels, and each
  element counts by its area. The surface of DeepMind's surface-distance, and so of KiTS21 and KiTS23.

Whatever lies outside the image counts as background, so a mask cut off by the image border has a surface there.
"""

_VOXEL_CONNECTIVITY = {"voxels": 1, "voxels18": 2}

# Distances are exact to single precision; one that equals the tolerance must not fail by its rounding.
_ROUNDING_OF_DISTANCES = 1e-6
_ROUNDING_OF_SUMS = 1e-12


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Both directed sets of surface distances of a prediction P and a reference R.

    Write S(M) for the elements of the surface of a mask M, d(s) for the distance of such an element to the nearest of
    the other surface, and a(s) for what it weighs: 1 for voxels, its area in mm^2 (in 2-D its length in mm) for
    surfels.

    Attributes:
        surface: what the elements are.
        prediction_to_reference_mm: d(s) in mm for every s of S(P). Not empty.
        reference_to_prediction_mm: d(s) in mm for every s of S(R). Not empty.
        prediction_weights: a(s) for every s of S(P), positive.
        reference_weights: a(s) for every s of S(R), positive.
    """

    surface: Surface
    prediction_to_reference_mm: Float64[np.ndarray, " prediction_surface"]
    reference_to_prediction_mm: Float64[np.ndarray, " reference_surface"]
    prediction_weights: Float64[np.ndarray, " prediction_surface"]
    reference_weights: Float64[np.ndarray, " reference_surface"]

    def hausdorff_mm(self) -> float:
        """Hausdorff distance: the largest distance of either direction, in mm."""
        return float(max(self.prediction_to_reference_mm.max(), self.reference_to_prediction_mm.max()))

    def hausdorff_percentile_mm(self, percentile: float) -> float:
        """Robust Hausdorff distance: the larger of the two directed percentiles, in mm.

        ``max(percentile of P to R, percentile of R to P)``. Of voxels the percentile is interpolated linearly between
        order statistics, as in MONAI (``compute_hausdorff_distance``). Of surfels it is the smallest distance within
        which that percentage of the area lies, as in surface-distance (``compute_robust_hausdorff``). MedPy (``hd95``)
        differs, see `hausdorff_pooled_percentile_mm`.

        Args:
            percentile: in [0, 100]; 95 gives HD95, 100 the Hausdorff distance.

        Raises:
            ValueError: ``percentile`` is outside [0, 100].
        """
        return max(
            self._percentile(self.prediction_to_reference_mm, self.prediction_weights, percentile),
            self._percentile(self.reference_to_prediction_mm, self.reference_weights, percentile),
        )

    def hausdorff_pooled_percentile_mm(self, percentile: float) -> float:
        """One percentile of both directions pooled, in mm, where the errors of a small surface drown in a large one.

        MedPy's ``hd95`` of voxels, which the papers on semi-supervised learning report as 95HD. Percentiles are those
        of `hausdorff_percentile_mm`.

        Args:
            percentile: in [0, 100].

        Raises:
            ValueError: ``percentile`` is outside [0, 100].
        """
        return self._percentile(self._pooled_mm, self._pooled_weights, percentile)

    def asd_prediction_to_reference_mm(self) -> float:
        """Average surface distance from prediction to reference, ``sum of a d / sum of a`` over S(P), in mm."""
        return float(np.average(self.prediction_to_reference_mm, weights=self.prediction_weights))

    def asd_reference_to_prediction_mm(self) -> float:
        """Average surface distance from reference to prediction, ``sum of a d / sum of a`` over S(R), in mm."""
        return float(np.average(self.reference_to_prediction_mm, weights=self.reference_weights))

    def assd_mm(self) -> float:
        """Average symmetric surface distance, ``sum of a d / sum of a`` over S(P) and S(R) together, in mm.

        Heimann et al., IEEE Trans Med Imaging 28, 2009. Not the mean of the two directed averages, which some call by
        the same name.
        """
        return float(np.average(self._pooled_mm, weights=self._pooled_weights))

    def rmsd_mm(self) -> float:
        """Root mean square symmetric surface distance, ``sqrt(sum of a d^2 / sum of a)`` over both surfaces, in mm.

        Heimann et al., IEEE Trans Med Imaging 28, 2009.
        """
        return float(np.sqrt(np.average(np.square(self._pooled_mm), weights=self._pooled_weights)))

    def surface_dice(self, tolerance_mm: float) -> float:
        """Surface Dice, or normalised surface distance: the share of both surfaces that lies close to the other.

        ``sum of a where d <= tolerance / sum of a`` over S(P) and S(R) together (Nikolov et al., J Med Internet Res 23,
        2021). In [0, 1]; 1 is best.

        Args:
            tolerance_mm: distance in mm that is still close; not negative.

        Raises:
            ValueError: ``tolerance_mm`` is negative, infinite or NaN.
        """
        check_tolerance(tolerance_mm)
        is_close = self._pooled_mm <= tolerance_mm * (1 + _ROUNDING_OF_DISTANCES)
        return float(np.average(is_close, weights=self._pooled_weights))

    def _percentile(
        self,
        distances_mm: Float64[np.ndarray, " elements"],
        weights: Float64[np.ndarray, " elements"],
        percentile: float,
    ) -> float:
        if not 0 <= percentile <= 100:
            raise ValueError(f"percentile must be in [0, 100], got {percentile}; for HD95 pass 95")
        if self.surface == "surfels":
            return _percentile_of_area(distances_mm, weights, percentile)
        return float(np.percentile(distances_mm, percentile))

    @property
    def _pooled_mm(self) -> Float64[np.ndarray, " both_surfaces"]:
        return np.concatenate([self.prediction_to_reference_mm, self.reference_to_prediction_mm])

    @property
    def _pooled_weights(self) -> Float64[np.ndarray, " both_surfaces"]:
        return np.concatenate([self.prediction_weights, self.reference_weights])


def surface_distances(
    prediction: Bool[np.ndarray, "..."],
    reference: Bool[np.ndarray, "..."],
    spacing_mm: Sequence[float],
    surface: Surface = "voxels",
) -> SurfaceDistances:
    """Measure the distances between the surfaces of two masks, in both directions.

    But for one reading of the image, work and memory follow the bounding box of the two masks.

    Args:
        prediction: boolean mask ``(X, Y)`` or ``(X, Y, Z)``.
        reference: boolean mask of the same shape.
        spacing_mm: distance of neighbouring voxels along each axis, in mm.
        surface: what the surface of a mask is, see `Surface`.

    Returns:
        The distances, exact to single precision.

    Raises:
        TypeError: a mask is not boolean.
        ValueError: a mask is empty (it has no surface, `EmptyPolicy` says what to score then), the shapes differ, the
            spacing does not fit them, or there is no such surface.
    """
    check_masks(prediction, reference)
    check_spacing(spacing_mm, prediction.ndim)
    # All that lies outside this box is background in both masks, so cutting there changes no surface.
    box = bounding_box(prediction, reference)
    cut = {"prediction": prediction[box], "reference": reference[box]}
    if empty := [name for name, mask in cut.items() if not mask.any()]:
        raise ValueError(
            f"surface distances need two non-empty masks, but the {' and the '.join(empty)} has no voxel; "
            "score the pair with score_masks: its EmptyPolicy says what a missed structure is worth"
        )
    prediction_surface, prediction_weights = _surface_elements(cut["prediction"], spacing_mm, surface)
    reference_surface, reference_weights = _surface_elements(cut["reference"], spacing_mm, surface)
    return SurfaceDistances(
        surface=surface,
        prediction_to_reference_mm=_distances_mm(prediction_surface, reference_surface, spacing_mm),
        reference_to_prediction_mm=_distances_mm(reference_surface, prediction_surface, spacing_mm),
        prediction_weights=prediction_weights,
        reference_weights=reference_weights,
    )


def _surface_elements(
    mask: Bool[np.ndarray, "..."], spacing_mm: Sequence[float], surface: Surface
) -> tuple[Bool[np.ndarray, "..."], Float64[np.ndarray, " elements"]]:
    """Where a mask's surface has its elements, in C order, and what each weighs."""
    if surface == "surfels":
        codes = neighbourhood_codes(mask)
        elements = is_surfel(codes)
        return elements, surfel_areas_mm2(spacing_mm)[codes[elements]]
    if surface not in _VOXEL_CONNECTIVITY:
        raise ValueError(f"surface must be one of {', '.join(get_args(Surface))}, got {surface!r}")
    neighbours = ndimage.generate_binary_structure(mask.ndim, _VOXEL_CONNECTIVITY[surface])
    elements = np.ascontiguousarray(mask ^ ndimage.binary_erosion(mask, neighbours, border_value=0))
    return elements, np.ones(np.count_nonzero(elements))


def _distances_mm(
    elements: Bool[np.ndarray, "*grid"], others: Bool[np.ndarray, "*grid"], spacing_mm: Sequence[float]
) -> Float64[np.ndarray, " elements"]:
    """Distance in mm from each element to the nearest of the others, both in C order, as edt needs them."""
    squared_mm2: Float32[np.ndarray, "*grid"] = edt.edtsq(~others, anisotropy=tuple(map(float, spacing_mm)))
    distances_mm: Float64[np.ndarray, " elements"] = np.sqrt(squared_mm2[elements], dtype=np.float64)
    return distances_mm


def _percentile_of_area(
    distances_mm: Float64[np.ndarray, " elements"], areas_mm2: Float64[np.ndarray, " elements"], percentile: float
) -> float:
    """The smallest distance within which ``percentile`` percent of the area lies."""
    nearest_first = np.argsort(distances_mm)
    share = np.cumsum(areas_mm2[nearest_first]) / np.sum(areas_mm2)
    # Half of a symmetric surface is half of its area, whatever the last bits of the sums say.
    index = min(int(np.searchsorted(share, percentile / 100 * (1 - _ROUNDING_OF_SUMS))), len(distances_mm) - 1)
    return float(distances_mm[nearest_first[index]])
