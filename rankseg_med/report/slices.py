"""Small pictures of the slices of a study that say most."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageColor
from scipy import ndimage

from rankseg_med.report.palette import hex_colours_of
from rankseg_med.report.study_view import StudyView

_LONG_SIDE_PIXELS = 288
_FILL_OPACITY = 0.35
_WHITE = (255, 255, 255)
_JPEG_QUALITY = 82


@dataclass(frozen=True)
class SlicePicture:
    """A picture and what it shows.

    Attributes:
        caption: In words.
        jpeg: Content of a JPEG file.
    """

    caption: str
    jpeg: bytes


def telling_slices(view: StudyView, names: Mapping[int, str]) -> list[SlicePicture]:
    """Axial slices: the largest cross-section, then the largest disagreement with each other label map.

    The largest cross-section is of the highest-numbered label that is there, which is the tumour where an organ goes
    before it. Labels are filled; what they are held against is outlined in white. A study without any label shows its
    middle slice, and one that agrees with the other label map everywhere has no picture of a disagreement. The view is
    radiological: the patient's right is on the left.

    Args:
        view: The study.
        names: Label to name; others are called by their number.
    """
    colours = hex_colours_of({*names, *view.labels})
    pictures = [_cross_section(view, names, colours)]
    for name, other in view.others.items():
        differing = np.count_nonzero(view.label_map != other, axis=(0, 1))
        if differing.any():
            index = int(differing.argmax())
            caption = f"Largest disagreement with the {name} (white outline): {int(differing[index])} voxels"
            pictures.append(SlicePicture(f"{caption}, {_place(view, index)}", _draw(view, index, colours, other)))
    return pictures


def _cross_section(view: StudyView, names: Mapping[int, str], colours: Mapping[int, str]) -> SlicePicture:
    if not view.labels:
        index = view.label_map.shape[2] // 2
        return SlicePicture(f"No label is there; middle slice, {_place(view, index)}", _draw(view, index, colours))
    highest = max(view.labels)
    structure = names.get(highest, f"label {highest}")
    # A structure that was missed is not in the label map itself.
    maps = {"": view.label_map, **view.others}
    where, holder = next((name, labels) for name, labels in maps.items() if (labels == highest).any())
    index = int(np.count_nonzero(holder == highest, axis=(0, 1)).argmax())
    caption = f"Largest cross-section of {structure}, {_place(view, index)}"
    if where:
        caption += f"; it is in the {where} alone (white outline)"
    return SlicePicture(caption, _draw(view, index, colours, holder if where else None))


def _place(view: StudyView, index: int) -> str:
    return f"slice {view.first_voxel[2] + index + 1} of {view.whole_shape[2]}"


def _draw(
    view: StudyView, index: int, colours: Mapping[int, str], other: UInt8[np.ndarray, "R A S"] | None = None
) -> bytes:
    labels = view.label_map[:, :, index]
    size = _pixels(labels.shape[0] * view.spacing_mm[0], labels.shape[1] * view.spacing_mm[1])
    pixels = np.repeat(_scaled(_grey(view, index), size, Image.Resampling.BILINEAR)[..., None], 3, axis=2)
    pixels = pixels.astype(np.float32)
    shown = _scaled(labels, size, Image.Resampling.NEAREST)
    for label, colour in colours.items():
        mask = shown == label
        rgb = np.array(ImageColor.getrgb(colour), np.float32)
        pixels[mask] = (1 - _FILL_OPACITY) * pixels[mask] + _FILL_OPACITY * rgb
        pixels[_rim(mask)] = rgb
    if other is not None:
        expected = _scaled(other[:, :, index], size, Image.Resampling.NEAREST)
        for label in np.unique(expected[expected > 0]):
            pixels[_rim(expected == label)] = _WHITE
    return _jpeg(Image.fromarray(np.rint(pixels).astype(np.uint8)))


def _grey(view: StudyView, index: int) -> UInt8[np.ndarray, "R A"]:
    """The image in its window; black without one."""
    if view.grey is None:
        return np.zeros_like(view.label_map[:, :, index])
    low, high = view.grey_values
    values = low + view.grey[:, :, index].astype(np.float32) * (high - low) / 255
    black, white = view.window
    return np.rint(255 * np.clip((values - black) / (white - black), 0, 1)).astype(np.uint8)


def _pixels(width_mm: float, height_mm: float) -> tuple[int, int]:
    per_mm = _LONG_SIDE_PIXELS / max(width_mm, height_mm)
    return max(1, round(width_mm * per_mm)), max(1, round(height_mm * per_mm))


def _scaled(
    plane: UInt8[np.ndarray, "R A"], size: tuple[int, int], resampling: Image.Resampling
) -> UInt8[np.ndarray, "height width"]:
    """Rows from front to back, and columns from the patient's right to left."""
    upright = np.ascontiguousarray(plane.T[::-1, ::-1])
    return np.asarray(Image.fromarray(upright).resize(size, resampling))


def _rim(mask: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    rim: np.ndarray = mask & ~ndimage.binary_erosion(mask, border_value=1)
    return rim


def picture_of(path: Path, caption: str) -> SlicePicture:
    """A picture that is on disk, in any format that Pillow reads.

    Raises:
        OSError: It is none, or cannot be read.
    """
    with Image.open(path) as image:
        return SlicePicture(caption, _jpeg(image.convert("RGB")))


def _jpeg(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "jpeg", quality=_JPEG_QUALITY, subsampling=0)
    return stream.getvalue()
