"""A picture of one study: label maps side by side over the CT, in three orthogonal planes."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Integer, Real
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from rankseg_med.masks import bounding_box
from rankseg_med.report.figure_text import figure_text, legible
from rankseg_med.report.palette import hex_colours_of
from rankseg_med.studies import atomic_write

_FILL_OPACITY = 0.3
_PANEL_INCHES = 2.6
_GAP_INCHES = 0.05
_DPI = 150

# For each plane: the array axis it cuts, the axes it shows (across, up), and the letters at left, right, bottom, top.
# Axes across run from right to left of the picture, so the patient's right, or front, is on the left: radiological.
_PLANES = {
    "axial": (2, (0, 1), "RLPA"),
    "coronal": (1, (0, 2), "RLIS"),
    "sagittal": (0, (1, 2), "APIS"),
}


@figure_text()
def save_overlay(
    path: str | os.PathLike[str],
    image: Real[np.ndarray, "_X _Y _Z"],
    label_maps: Mapping[str, Integer[np.ndarray, "_X _Y _Z"]],
    label_names: Mapping[int, str],
    *,
    window_hu: tuple[float, float] = (-160.0, 240.0),
    spacing_mm: tuple[float, float, float],
    title: str | None = None,
    first_voxel: tuple[int, int, int] = (0, 0, 0),
    whole_shape: tuple[int, int, int] | None = None,
) -> None:
    """Save a figure of one study: a column for each label map; an axial, a coronal and a sagittal row.

    Each row shows the slice with most voxels of the highest-numbered label present, taken over all the maps together
    (the middle slice where every map is empty), cropped to what is brighter than the window's black or labelled. The
    view is radiological: the patient's right is on the left.

    Args:
        path: where it goes; an existing file is replaced. PNG or PDF by its name; in a PDF text and contours are drawn
            as such, and the image is pixels.
        image: CT in Hounsfield units, in canonical RAS order: axes run to the patient's right, front and head. The
            caller reorients.
        label_maps: column heading to label map on the image's grid, 0 being background.
        label_names: names of the labels, for the legend; the seven colours repeat from the eighth label on.
        window_hu: Hounsfield units shown as black and as white.
        spacing_mm: distance between voxel centres along R, A and S.
        title: text above the columns.
        first_voxel: index of the first voxel in the volume that all was cut from, in which slices are counted.
        whole_shape: shape of that volume; by default the image's own.

    Raises:
        ValueError: if the image is not three-dimensional, there is no label map, a map's shape differs from the
            image's, a label has no name, or the window or the spacing is not positive.
    """
    _check_arguments(image, label_maps, label_names, window_hu, spacing_mm)
    colours = hex_colours_of(label_names)
    slices = _most_telling_slices(image.shape, label_maps.values())
    box = bounding_box(image > window_hu[0], *label_maps.values())
    if not box[0].stop:
        box = tuple(slice(0, size) for size in image.shape)
    size_mm = [(side.stop - side.start) * spacing for side, spacing in zip(box, spacing_mm, strict=True)]

    figure, panels = _lay_out(size_mm, columns=len(label_maps), title=title)
    for row, (plane, (cut, (across, up), letters)) in zip(panels, _PLANES.items(), strict=True):
        here = tuple(slices[axis] if axis == cut else box[axis] for axis in range(3))
        extent_mm = (0, size_mm[across], 0, size_mm[up])
        for axes, labels in zip(row, label_maps.values(), strict=True):
            axes.imshow(
                image[here].T,
                cmap="gray",
                vmin=window_hu[0],
                vmax=window_hu[1],
                origin="lower",
                extent=extent_mm,
                interpolation="bilinear",
            )
            _draw_labels(axes, labels[here].T, colours, extent_mm)
            axes.invert_xaxis()
            _write_directions(axes, letters)
        number, count = first_voxel[cut] + slices[cut] + 1, (whole_shape or image.shape)[cut]
        _write_row_label(figure, row[0], f"{plane}, slice {number} of {count}")
    for axes, heading in zip(panels[0], label_maps, strict=True):
        axes.set_title(legible(heading), color="white", fontsize=11, pad=5)
    _write_legend(figure, colours, label_names)

    with atomic_write(path) as temporary_path:
        figure.savefig(temporary_path)


def _check_arguments(
    image: np.ndarray,
    label_maps: Mapping[str, np.ndarray],
    label_names: Mapping[int, str],
    window_hu: tuple[float, float],
    spacing_mm: tuple[float, float, float],
) -> None:
    if image.ndim != 3:
        raise ValueError(f"image must be (X, Y, Z), got shape {image.shape}; drop the channel axis first")
    if not label_maps:
        raise ValueError("label_maps must hold at least one label map, got none")
    for heading, labels in label_maps.items():
        if labels.shape != image.shape:
            raise ValueError(
                f"label map {heading!r} must have the image's shape {image.shape}, got {labels.shape}; "
                "bring both to one grid first"
            )
        unnamed = set(np.unique(labels).tolist()) - {0} - set(label_names)
        if unnamed:
            raise ValueError(f"label_names must name every label, but {heading!r} also has {sorted(unnamed)}")
    if not window_hu[0] < window_hu[1]:
        raise ValueError(f"window_hu must run from low to high, got {window_hu}")
    if not min(spacing_mm) > 0:
        raise ValueError(f"spacing_mm must be positive, got {spacing_mm}")


def _most_telling_slices(shape: tuple[int, ...], label_maps: Iterable[np.ndarray]) -> list[int]:
    """Index, along each axis, of the slice with most of the highest label present in any map."""
    maps = list(label_maps)
    highest = max(int(labels.max()) for labels in maps)
    if highest == 0:
        return [size // 2 for size in shape]
    present: Bool[np.ndarray, "_X _Y _Z"] = np.logical_or.reduce([labels == highest for labels in maps])
    return [int(present.sum(axis=tuple({0, 1, 2} - {axis})).argmax()) for axis in range(3)]


def _lay_out(size_mm: Sequence[float], columns: int, title: str | None) -> tuple[Figure, np.ndarray]:
    """A black figure and its axes `(planes, columns)`, with panels in proportion to the millimetres they show."""
    width_mm = max(size_mm[across] for _, (across, _), _ in _PLANES.values())
    heights = [size_mm[up] * _PANEL_INCHES / width_mm for _, (_, up), _ in _PLANES.values()]
    left, right, top, bottom = 0.28, 0.08, 0.56 if title else 0.3, 0.55
    width = left + columns * _PANEL_INCHES + (columns - 1) * _GAP_INCHES + right
    height = top + sum(heights) + 2 * _GAP_INCHES + bottom

    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="black")
    FigureCanvasAgg(figure)
    panels = figure.subplots(
        3,
        columns,
        squeeze=False,
        gridspec_kw={
            "left": left / width,
            "right": 1 - right / width,
            "bottom": bottom / height,
            "top": 1 - top / height,
            "wspace": _GAP_INCHES / _PANEL_INCHES,
            "hspace": _GAP_INCHES / float(np.mean(heights)),
            "height_ratios": heights,
        },
    )
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[], facecolor="black", frame_on=False)
    if title:
        figure.suptitle(legible(title), y=1 - 0.08 / height, va="top", color="white", fontsize=12)
    return figure, panels


def _draw_labels(
    axes: Axes, labels: np.ndarray, colours: Mapping[int, str], extent_mm: tuple[float, float, float, float]
) -> None:
    for label, colour in colours.items():
        mask = labels == label
        if not mask.any():
            continue
        fill = np.zeros((*mask.shape, 4))
        fill[mask] = (*to_rgb(colour), _FILL_OPACITY)
        axes.imshow(fill, origin="lower", extent=extent_mm, interpolation="nearest")
        # A rim of background closes the contours of labels that touch the edge of the picture.
        height_mm, width_mm = extent_mm[3] / mask.shape[0], extent_mm[1] / mask.shape[1]
        axes.contour(
            np.pad(mask.astype(float), 1),
            levels=[0.5],
            colors=[colour],
            linewidths=1.2,
            origin="lower",
            extent=(-width_mm, extent_mm[1] + width_mm, -height_mm, extent_mm[3] + height_mm),
        )
    axes.set(xlim=extent_mm[:2], ylim=extent_mm[2:])


def _write_directions(axes: Axes, letters: str) -> None:
    places = (
        (0.02, 0.5, "left", "center"),
        (0.98, 0.5, "right", "center"),
        (0.5, 0.02, "center", "bottom"),
        (0.5, 0.98, "center", "top"),
    )
    outline = [patheffects.withStroke(linewidth=2, foreground="black")]
    # A monospaced I has serifs, and does not look like a bar.
    style: dict[str, Any] = {"family": "monospace", "fontsize": 8, "color": "white", "path_effects": outline}
    for letter, (x, y, horizontal, vertical) in zip(letters, places, strict=True):
        axes.text(x, y, letter, transform=axes.transAxes, ha=horizontal, va=vertical, **style)


def _write_row_label(figure: Figure, first: Axes, text: str) -> None:
    # Not the axes' own label, which would move inwards beside a narrow picture.
    slot = first.get_position(original=True)
    x, y = 0.14 / figure.get_figwidth(), (slot.y0 + slot.y1) / 2
    figure.text(x, y, text, rotation="vertical", ha="center", va="center", color="white", fontsize=8)


def _write_legend(figure: Figure, colours: Mapping[int, str], label_names: Mapping[int, str]) -> None:
    handles = [
        Patch(facecolor=(*to_rgb(colour), _FILL_OPACITY), edgecolor=colour, label=legible(label_names[label]))
        for label, colour in colours.items()
    ]
    figure.legend(
        handles=handles,
        loc="center",
        bbox_to_anchor=(0.5, 0.38 / figure.get_figheight()),
        ncols=max(1, len(handles)),
        frameon=False,
        labelcolor="white",
        fontsize=10,
    )
    note = "Radiological view: the patient's right is on the left"
    figure.text(0.5, 0.12 / figure.get_figheight(), note, ha="center", va="center", color="0.65", fontsize=7.5)
