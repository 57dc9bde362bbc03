"""How much memory a study takes at its worst with a trained model, told by its header before any of it is loaded."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rankseg_med.decode import Store
from rankseg_med.nnunet.export import Export
from rankseg_med.nnunet.model import FoldEnsemble
from rankseg_med.nnunet.plans import Plans
from rankseg_med.nnunet.preprocessing import axes_in_array
from rankseg_med.studies import Grid

# Measured in fresh processes, native grids of 13 and 79 million voxels, model grids of 2 to 34 million; somewhat more.
_PREPROCESSING_BYTES_PER_NATIVE_VOXEL = 48
_PREPROCESSING_BYTES_PER_MODEL_VOXEL = 12
_BYTES_PER_LOGIT = 2
_BYTES_OF_SLABS = 150_000_000
_EXACT_BYTES_PER_VOXEL = 80
_EXACT_BYTES_PER_VALUE = 12
_BYTES_PER_LEVEL = 2
_BYTES_PER_DECODED_CLASS = 20_000_000  # of histograms and blocks


@dataclass(frozen=True)
class NnunetMemory:
    """What the memory of a study depends on besides its header.

    Attributes:
        plans: Plans of the model.
        num_folds: Number of networks.
        export: See `Exporter`.
        ensemble: See `NnunetModel`.
        store: On ``"disk"`` probabilities are in memory only as long as there is room.
    """

    plans: Plans
    num_folds: int = 1
    export: Export = "slabs"
    ensemble: FoldEnsemble = "logits"
    store: Store = "memory"

    def needed(self, grid: Grid, images: int) -> int:
        """Bytes at the worst moment; what the networks compute with, and their weights, are not known here.

        Args:
            grid: Grid of the image.
            images: Images of the study.
        """
        channels = self.plans.labels.channels
        native, model = math.prod(grid.shape), self._model_voxels(grid)
        preprocessing = images * (
            _PREPROCESSING_BYTES_PER_NATIVE_VOXEL * native + _PREPROCESSING_BYTES_PER_MODEL_VOXEL * model
        )
        volumes = self.num_folds if self.ensemble == "mean" else min(self.num_folds, 2)
        logits = _BYTES_PER_LOGIT * (volumes * channels + 1) * model
        export = _BYTES_OF_SLABS
        if self.export == "exact":
            export = (_EXACT_BYTES_PER_VOXEL + _EXACT_BYTES_PER_VALUE * channels) * native
        sessions = self.num_folds if self.ensemble == "decode" else 1
        kept = _BYTES_PER_LEVEL * native if self.store == "memory" else 0
        return preprocessing + logits + export + sessions * channels * (kept + _BYTES_PER_DECODED_CLASS)

    def _model_voxels(self, grid: Grid) -> int:
        """Voxels that networks see, if nothing is cropped."""
        order = np.argsort(axes_in_array(grid, turned=self.plans.reorients)[:, 0])[list(self.plans.transpose_forward)]
        sizes, spacing_mm = (np.array(values)[::-1][order] for values in (grid.shape, grid.spacing_mm))
        wanted_mm = self.plans.own["spacing"]
        planar = len(sizes) - len(wanted_mm)
        seen = sizes[planar:] * spacing_mm[planar:] / np.array(wanted_mm)
        return int(np.prod(sizes[:planar]) * np.prod(np.ceil(seen)))
