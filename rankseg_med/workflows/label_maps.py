"""What every job does with a label map: clean it up, write it with the names of its labels, and say what it holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Transform
from torch import Tensor

from rankseg_med.decode import Decoded, DecodeSession, SlabSession
from rankseg_med.runs import Written
from rankseg_med.studies import LabelMapFormat, NiftiFormat, NnunetLabels

NIFTI: LabelMapFormat = NiftiFormat()
"""What label maps are written as unless something else is asked for."""


@dataclass(frozen=True)
class LabelMaps:
    """Where label maps go, and what becomes of them on the way.

    Attributes:
        folder: Folder that label maps were asked for in.
        cleanup: Label map ``(1, X, Y, Z)`` to label map, or None.
        names: Label to name, without the background; None where nobody says.
        calibration: What sidecars say of the calibration of the probabilities, or None.
        format: How they are written.

    Raises:
        InputError: Labels of these names cannot be written so.
    """

    folder: Path
    cleanup: Transform | None = None
    names: Mapping[int, str] | None = None
    calibration: Mapping[str, Any] | None = None
    format: LabelMapFormat = NIFTI

    def __post_init__(self) -> None:
        self.format.check_names(self.names)

    def write(
        self,
        decoded: Decoded,
        case_id: str,
        *,
        inputs: Sequence[Path],
        grid_of: Path,
        affine: Float64[np.ndarray, "4 4"],
        decoder: object,
        probabilities: Float[Tensor, "structures X Y Z"] | None = None,
    ) -> Written:
        """Clean up a decoded label map, and write it, whole or not at all.

        Args:
            decoded: Label map ``(X, Y, Z)`` and decisions.
            case_id: The study, which files are named after.
            inputs: Files that it was made of.
            grid_of: Image whose grid it is on.
            affine: Affine of that grid, in mm.
            decoder: Decoder, for the record.
            probabilities: What was decoded, without the background, if the format needs it.

        Returns:
            The label map, with the decoder, its decisions (per region: expected score, volume and its standard
            deviation, ...), which speak of the label map as decoded, and the volumes as written, after cleanup.
        """
        label_map = cleaned(decoded.label_map.cpu(), self.cleanup, affine)
        paths = self.format.paths_in(self.folder, case_id, inputs)
        self.format.write(
            label_map, paths[0], grid_of=grid_of, names=self.names, inputs=inputs, probabilities=probabilities
        )
        details: dict[str, Any] = {
            "decoder": repr(decoder),
            "decisions": [asdict(decision) for decision in decoded.decisions],
            "volume_ml": volumes_ml(label_map, affine),
            "calibration": self.calibration,
            "label_names": recorded(self.names),
        }
        return Written(paths, details)


def label_map_path(folder: Path, case_id: str) -> Path:
    """Where a study's label map goes unless something else is asked for."""
    return folder / f"{case_id}{NIFTI.suffix}"


def names_of(config: ConfigParser, labels: NnunetLabels | None) -> dict[int, str] | None:
    """Label to name, without the background; None where nobody says, or names are of regions that overlap."""
    if "label_names" in config:
        return {label: name for label, name in enumerate(config["label_names"]) if label}
    if labels is None or any(len(values) != 1 for values in labels.names.values()):
        return None
    return {values[0]: name for name, values in labels.names.items()}


def probabilities_in(session: SlabSession, format: LabelMapFormat) -> Float[Tensor, "structures X Y Z"] | None:
    """What a session is going to decode, without the background, if a format needs it; else None."""
    if not format.needs_probabilities:
        return None
    if not isinstance(session, DecodeSession):
        raise TypeError(f"probabilities are asked for, and a {type(session).__name__} does not keep them")
    return session.foreground()


def recorded(names: Mapping[int, str] | None) -> dict[str, str] | None:
    """Names of labels as JSON has them."""
    return {str(label): name for label, name in names.items()} if names else None


def cleaned(
    label_map: UInt8[Tensor, "X Y Z"], cleanup: Transform | None, affine: Float64[np.ndarray, "4 4"]
) -> UInt8[Tensor, "X Y Z"]:
    """The label map after a cleanup transform of ``(1, X, Y, Z)``; some ask for volumes, so it gets the affine (mm)."""
    if cleanup is None:
        return label_map
    result: Tensor = cleanup(MetaTensor(label_map[None], affine=affine)).as_tensor()[0]
    return result


def volumes_ml(label_map: UInt8[Tensor, "X Y Z"], affine: Float64[np.ndarray, "4 4"]) -> dict[str, float]:
    """Volume of each label that occurs, in ml, for a sidecar; empty for an empty label map."""
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    voxels = torch.bincount(label_map.flatten()).tolist()
    return {str(label): number * voxel_ml for label, number in enumerate(voxels) if label and number}
