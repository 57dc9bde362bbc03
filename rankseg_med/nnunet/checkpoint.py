"""The weights of one fold, and what nnU-Net notes beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rankseg_med.networks import read_checkpoint
from rankseg_med.nnunet.allowed import check_trainer
from rankseg_med.nnunet.errors import NnunetError

# Scores in the training's log are numpy's numbers. What makes one has other names in numpy 1 and 2.
_SCALAR = np.float64(0).__reduce__()[0]
_NUMBERS: list[Any] = [
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
]


@dataclass(frozen=True)
class Checkpoint:
    """One trained network.

    Attributes:
        path: The file.
        weights: State dictionary of the network.
        trainer: Name of the trainer's class.
        configuration: Name of the plans' configuration.
        mirroring_axes: Axes along which the network was trained to be mirrored.
    """

    path: Path
    weights: Mapping[str, Tensor]
    trainer: str
    configuration: str
    mirroring_axes: tuple[int, ...]

    @classmethod
    def read(cls, path: Path, sha256: str | None = None) -> Checkpoint:
        """Read a checkpoint: tensors and numbers alone, never code.

        Args:
            path: ``checkpoint_final.pth`` or ``checkpoint_best.pth`` of a fold.
            sha256: Hash that the file's content must have; by default any.

        Raises:
            CheckpointError: The file is missing, damaged, holds other objects, or has another hash.
            NnunetError: It is not nnU-Net's, or of a trainer whose network is not known.
        """
        with torch.serialization.safe_globals(_NUMBERS):
            content = read_checkpoint(path, sha256=sha256)
        try:
            weights = content["network_weights"]
            trainer, configuration = content["trainer_name"], content["init_args"]["configuration"]
            axes = tuple(content.get("inference_allowed_mirroring_axes") or ())
        except (KeyError, TypeError, AttributeError) as error:
            raise NnunetError(
                f"{path}: must be a checkpoint of nnU-Net v2, with network_weights, trainer_name and init_args; "
                f"{error} is missing"
            ) from error
        check_trainer(trainer, str(path))
        if not isinstance(weights, Mapping) or not isinstance(configuration, str) or not set(axes) <= {0, 1, 2}:
            raise NnunetError(
                f"{path}: must hold weights, the name of a configuration and axes 0 to 2 for mirroring, got "
                f"{type(weights).__name__}, {configuration!r} and {axes}"
            )
        return cls(path, weights, trainer, configuration, axes)
