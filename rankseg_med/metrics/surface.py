"""Distances between the surfaces of two masks, measured once and reduced in several ways."""

from collections.abc import Sequence
from dataclasses import dataclass

import edt
import numpy as np
from jaxtyping import Bool, Float32, Float64
from scipy import ndimage

from rankseg_med.metrics._checks import check_masks, check_spacing


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Both directed sets of surface distances of a prediction P and a reference R.

    Write S(M) for the surface voxels of a mask M. Every surface voxel counts once, whatever its area.

    Attributes:
        prediction_to_reference_mm: distance in mm from each voxel of S(P) to the nearest of S(R). Not empty.
        reference_to_prediction_mm: distance in mm from each voxel of S(R) to the nearest of S(P). Not empty.
    """

    prediction_to_reference_mm: Float64[np.ndarray, " prediction_surface"]
    reference_to_prediction_mm: Float64[np.ndarray, " reference_surface"]

    def hausdorff_mm(self) -> float:
        """Hausdorff distance: the largest distance of either direction, in mm."""
        return self.hausdorff_percentile_mm(100.0)

    def hausdorff_percentile_mm(self, percentile: float) -> float:
        """Robust Hausdorff distance: the larger of the two directed percentiles, in mm.

        ``max(percentile of P to R, percentile of R to P)`` with linear interpolation between order statistics, as in
        MONAI (``compute_hausdorff_distance``). surface-distance takes the same maximum, but weights each distance by
        the area of its surface element. MedPy (``hd95``) differs: it takes one percentile of both directions pooled,
        where the errors of a small surface drown in a large one.

        Args:
            percentile: in [0, 100]; 95 gives HD95, 100 the Hausdorff distance.

        Raises:
            ValueError: ``percentile`` is outside [0, 100].
        """
        if not 0 <= percentile <= 100:
            raise ValueError(f"percentile must be in [0, 100], got {percentile}. For HD95 pass 95.")
        return float(
            max(
                np.percentile(self.prediction_to_reference_mm, percentile),
                np.percentile(self.reference_to_prediction_mm, percentile),
            )
        )

    def asd_prediction_to_reference_mm(self) -> float:
        """Average surface distance from prediction to reference, in mm (MedPy's ``asd(prediction, reference)``)."""
        return float(self.prediction_to_reference_mm.mean())

    def asd_reference_to_prediction_mm(self) -> float:
        """Average surface distance from reference to prediction, in mm (MedPy's ``asd(reference, prediction)``)."""
        return float(self.reference_to_prediction_mm.mean())

    def assd_mm(self) -> float:
        """Average symmetric surface distance, both directions pooled, in mm.

        ``(sum of P to R + sum of R to P) / (|S(P)| + |S(R)|)`` (Heimann et al., IEEE Trans Med Imaging 28, 2009), as in
        MONAI and MedPy.
        """
        return float(np.concatenate([self.prediction_to_reference_mm, self.reference_to_prediction_mm]).mean())


def surface_distances(
    prediction: Bool[np.ndarray, "..."],
    reference: Bool[np.ndarray, "..."],
    spacing_mm: Sequence[float],
) -> SurfaceDistances:
    """Measure the distances between the surfaces of two masks, in both directions.

    The surface is the mask without its erosion by the face-connected structuring element (4 neighbours in 2-D, 6 in
    3-D). What lies outside the image counts as background, so a mask cut off by the image border has a surface there:
    MONAI and MedPy do the same. Distances run between voxel centres. But for one boolean pass over the image, work and
    memory follow the bounding box of the two masks.

    Args:
        prediction: boolean mask ``(X, Y)`` or ``(X, Y, Z)``.
        reference: boolean mask of the same shape.
        spacing_mm: distance of neighbouring voxels along each axis, in mm.

    Returns:
        The distances, exact to single precision.

    Raises:
        TypeError: a mask is not boolean.
        ValueError: a mask is empty (it has no surface, `EmptyPolicy` says what to score then), the shapes differ, or
            the spacing does not fit them.
    """
    check_masks(prediction, reference)
    check_spacing(spacing_mm, prediction.ndim)
    empty = [name for name, mask in (("prediction", prediction), ("reference", reference)) if not mask.any()]
    if empty:
        raise ValueError(
            f"Surface distances need two non-empty masks, but the {' and the '.join(empty)} has no voxel. "
            "Score the pair with score_label_maps: its EmptyPolicy says what a missed structure is worth."
        )
    # All that lies outside this box is background in both masks, so cutting there changes no surface.
    (box,) = ndimage.find_objects(prediction | reference, max_label=1)
    prediction_surface = _surface(prediction[box])
    reference_surface = _surface(reference[box])
    return SurfaceDistances(
        prediction_to_reference_mm=_distance_to_mm(reference_surface, spacing_mm)[prediction_surface].astype(float),
        reference_to_prediction_mm=_distance_to_mm(prediction_surface, spacing_mm)[reference_surface].astype(float),
    )


def _surface(mask: Bool[np.ndarray, "*spatial"]) -> Bool[np.ndarray, "*spatial"]:
    # C order: for another memory layout edt asks for the spacing in another order.
    return np.ascontiguousarray(mask ^ ndimage.binary_erosion(mask, border_value=0))


def _distance_to_mm(
    surface: Bool[np.ndarray, "*spatial"], spacing_mm: Sequence[float]
) -> Float32[np.ndarray, "*spatial"]:
    """Distance in mm from every voxel to the nearest surface voxel."""
    distance_mm: Float32[np.ndarray, "*spatial"] = edt.edt(~surface, anisotropy=tuple(spacing_mm))
    return distance_mm
