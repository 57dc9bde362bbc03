"""What every calibration does, whichever kind it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeAlias

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rankseg_med.calibration.counts import ReliabilityCounts
from rankseg_med.calibration.labelled_voxels import LabelledVoxels

Observations: TypeAlias = LabelledVoxels | ReliabilityCounts
"""What a calibration is fitted to, of one volume or, ``joined``, of many."""

# Values (classes times voxels) that are worked on at a time.
_BLOCK_VALUES = 1 << 20


class Calibration(torch.nn.Module, ABC):
    """Probabilities to ones that can be taken at their word.

    It is a layer: ``torch.nn.Sequential(network, calibration)`` is the calibrated network. Volumes of probabilities are
    calibrated by `probabilities`. It has no parameters for an optimizer, only buffers, and a fresh one changes nothing.

    Attributes:
        kind: Its name in files.
        num_classes: Background included; of independent channels, how many there are.
        independent: Whether channels are independent (sigmoid) and none is a background.
    """

    kind: ClassVar[str]

    def __init__(self, num_classes: int, *, independent: bool = False) -> None:
        super().__init__()
        least = 1 if independent else 2
        if num_classes < least:
            what = "independent channels" if independent else "background included"
            raise ValueError(f"num_classes must be at least {least}, {what}; got {num_classes}")
        self.num_classes = num_classes
        self.independent = independent

    @abstractmethod
    def forward(self, logits: Float[Tensor, "batch classes *spatial"]) -> Float[Tensor, "batch classes *spatial"]:
        """Calibrated logits, float32 and finite, on the device of the given ones."""

    @torch.no_grad()
    def probabilities(self, probabilities: Float[Tensor, "classes *spatial"]) -> Float[Tensor, "classes *spatial"]:
        """Calibrated probabilities of one volume, or of a slab of one.

        Args:
            probabilities: ``(classes, *spatial)``, channel 0 the background (unless channels are independent); half,
                single or double precision. NaN stays NaN.

        Returns:
            As many, float32, on the same device; those of exclusive classes add up to 1. Beside them only a block of
            some voxels is held at a time.

        Raises:
            ValueError: Another number of classes.
            TypeError: Not floating point.
        """
        self._check_channels(probabilities)
        calibrated = torch.empty(probabilities.shape, dtype=torch.float32, device=probabilities.device)
        if not calibrated.numel():
            return calibrated
        slices = max(1, _BLOCK_VALUES // probabilities[:, 0].numel())
        blocks = zip(torch.split(probabilities, slices, 1), torch.split(calibrated, slices, 1), strict=True)
        for given, wanted in blocks:
            wanted.copy_(self._of_voxels(given.flatten(1).float()).view(given.shape))
        return calibrated

    @abstractmethod
    def observe(
        self, logits: Float[Tensor, "classes *spatial"], labels: Int64[Tensor, "*spatial"], *, seed: int = 0
    ) -> Observations:
        """What is kept of a labelled volume to be fitted to.

        Args:
            logits: Logits of the network, not calibrated.
            labels: The truth, on the same grid.
            seed: Random seed of a draw of voxels, where there is one.

        Raises:
            ValueError: Another number of classes, or a label that is none.
        """

    @abstractmethod
    def fit(self, observations: Any) -> None:  # noqa: ANN401 - what it observes itself
        """Fit to what it observed of volumes that the network was not trained on."""

    @property
    @abstractmethod
    def summary(self) -> dict[str, float]:
        """A few numbers that say what it does at present, by name."""

    @abstractmethod
    def _of_voxels(self, probabilities: Float[Tensor, "classes voxels"]) -> Float[Tensor, "classes voxels"]:
        """Calibrated probabilities of some voxels, float32 as the given ones."""

    def _check_channels(self, values: Tensor) -> None:
        if not values.dtype.is_floating_point:
            raise TypeError(f"probabilities must be floating point, got {values.dtype}; was a label map passed?")
        if values.ndim < 2 or len(values) != self.num_classes:
            what = "independent channels" if self.independent else "classes, background included"
            raise ValueError(
                f"this calibration is of {self.num_classes} {what}, got {tuple(values.shape)}; was it fitted to "
                "another network, or is the class axis not the first?"
            )


def calibrated(network: torch.nn.Module, calibration: Calibration | None) -> torch.nn.Module:
    """The network with its calibration behind it; the network itself where there is none."""
    return network if calibration is None else torch.nn.Sequential(network, calibration)
