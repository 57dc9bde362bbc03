"""Small DICOM series, written by SimpleITK."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK


def write_series(
    folder: Path,
    voxels: np.ndarray,
    *,
    positions: Sequence[Sequence[float]] | None = None,
    spacing_mm: tuple[float, float] = (0.7, 0.8),
    orientation: Sequence[float] = (1, 0, 0, 0, 1, 0),
    uid: str = "1.2.3.4",
    thickness_mm: float | None = 2.5,
    names: str = "{}.dcm",
    **tags: str,
) -> Path:
    """One file per slice of int16 `(X, Y, Z)` voxels; by default slices 2.5 mm apart along the patient's axis."""
    folder.mkdir(parents=True, exist_ok=True)
    positions = [(-90.5, -126.25, 33 + 2.5 * k) for k in range(voxels.shape[2])] if positions is None else positions
    for k, position in enumerate(positions):
        image = SimpleITK.GetImageFromArray(np.ascontiguousarray(voxels[:, :, k].T)[None])
        image.SetSpacing((*spacing_mm, 1.0))
        fields = {
            "0008|0060": "CT",
            "0008|0018": f"{uid}.{k + 1}",
            "0020|000d": "1.2.3",
            "0020|000e": uid,
            "0020|0013": str(k + 1),
            "0020|0032": "\\".join(f"{value:.10g}" for value in position),
            "0020|0037": "\\".join(f"{value:.10g}" for value in orientation),
            **({} if thickness_mm is None else {"0018|0050": f"{thickness_mm}"}),
            **{key.replace("_", "|").removeprefix("t"): value for key, value in tags.items()},
        }
        for key, value in fields.items():
            image.SetMetaData(key, value)
        writer = SimpleITK.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetImageIO("GDCMImageIO")
        writer.SetFileName(str(folder / names.format(k)))
        writer.Execute(image)
    return folder
