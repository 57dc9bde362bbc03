"""Volumes of a study as the page's 3-D viewer takes them."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float64, Shaped, UInt8

from rankseg_med.masks import connected_components
from rankseg_med.report.palette import hex_colours_of
from rankseg_med.report.study_view import StudyView

# A volume is sent to the graphics card whole; more would also make the files beside a page heavy.
_MOST_VOXELS = 3_000_000
_LEVELS = 255


def viewer_volumes(view: StudyView, names: Mapping[int, str]) -> dict[str, Any]:
    """What the viewer shows, ready for JSON.

    Args:
        view: The study; beyond three million voxels every second, third, ... voxel along the finest axes is kept.
        names: Label to name; others are called by their number.

    Returns:
        ``volumes``, each with a ``name``, whether it is of ``labels``, and a ``.nii.gz`` file of 8 bits as ``base64``;
        ``classes`` with ``label``, ``name``, ``colour``, ``volume_ml`` and ``lesion``: place (RAS+ mm) and volume (ml)
        of its largest connected component in the label map, None without one; the image's ``grey_values`` at both ends
        of its scale and the ``window`` to begin with; and the ``note`` that says what was left out.
    """
    steps = _steps(view.label_map.shape, view.spacing_mm)
    thinned = tuple(slice(None, None, step) for step in steps)
    affine = view.affine @ np.diag([*map(float, steps), 1.0])
    grey = np.zeros_like(view.label_map) if view.grey is None else view.grey
    label_maps = {"label map": view.label_map, **view.others}
    volumes = [{"name": "image", "labels": False, "base64": _nifti(grey[thinned], affine, view.grey_values)}]
    volumes += [
        {"name": name, "labels": True, "base64": _nifti(labels[thinned], affine)} for name, labels in label_maps.items()
    ]
    return {
        "volumes": volumes,
        "classes": _classes(view, names),
        "grey_values": list(view.grey_values),
        "window": list(view.window),
        "note": _note(view, steps),
    }


def _steps(shape: tuple[int, ...], spacing_mm: tuple[float, float, float]) -> tuple[int, int, int]:
    """How many voxels further the next that is kept lies; the finest axis is thinned first."""
    steps = [1, 1, 1]
    while np.prod(-(-np.array(shape) // steps)) > _MOST_VOXELS:
        finest = int(np.argmin(np.multiply(spacing_mm, steps)))
        steps[finest] += 1
    return steps[0], steps[1], steps[2]


def _note(view: StudyView, steps: tuple[int, int, int]) -> str:
    notes = ["The volume around all labels, in 8 bits."]
    if view.grey is None:
        notes.append("The image could not be shown.")
    if max(steps) > 1:
        notes.append(
            f"To keep the page light, 1 of {' x '.join(map(str, steps))} voxels is shown (right, front, up): "
            "fine detail is lost here, not in the label map on disk."
        )
    return " ".join(notes)


def _nifti(
    volume: UInt8[np.ndarray, "R A S"], affine: Float64[np.ndarray, "4 4"], values: tuple[float, float] | None = None
) -> str:
    image = nib.Nifti1Image(np.ascontiguousarray(volume), affine)
    image.header.set_xyzt_units("mm")
    if values is not None:
        image.header.set_slope_inter((values[1] - values[0]) / _LEVELS, values[0])
    # Without the time, equal studies give equal files.
    return base64.b64encode(gzip.compress(image.to_bytes(), mtime=0)).decode("ascii")


def _classes(view: StudyView, names: Mapping[int, str]) -> list[dict[str, Any]]:
    voxel_ml = abs(float(np.linalg.det(view.affine[:3, :3]))) / 1000
    colours = hex_colours_of({*names, *view.labels})
    return [
        {
            "label": label,
            "name": names.get(label, f"label {label}"),
            "colour": colour,
            "volume_ml": float(np.count_nonzero(view.label_map == label)) * voxel_ml,
            "lesion": _largest_lesion(view.label_map == label, view.affine, voxel_ml),
        }
        for label, colour in colours.items()
    ]


def _largest_lesion(
    mask: Bool[np.ndarray, "R A S"], affine: Shaped[np.ndarray, "4 4"], voxel_ml: float
) -> dict[str, Any] | None:
    if not mask.any():
        return None
    components = connected_components(mask)
    sizes = np.bincount(components.ravel())[1:]
    places = np.argwhere(components == int(sizes.argmax()) + 1)
    # The middle of a curved lesion lies outside of it: the nearest of its own voxels.
    place = places[np.linalg.norm(places - places.mean(0), axis=1).argmin()]
    return {
        "mm": [float(x) for x in nib.affines.apply_affine(affine, place)],
        "volume_ml": float(sizes.max()) * voxel_ml,
    }
