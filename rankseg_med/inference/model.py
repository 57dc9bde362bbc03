"""A trained network with everything around it: image file in, label map on the image's own grid out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from monai.data import MetaTensor
from monai.transforms import Compose
from torch import Tensor

from rankseg_med.calibration import Calibration
from rankseg_med.decode import (
    ArgmaxDecoder,
    Decoded,
    DecodeSession,
    RankSEGDecoder,
    SlabSession,
    Store,
    finalize_ensemble,
)
from rankseg_med.inference.errors import InferenceError
from rankseg_med.inference.native_grid import NativeGrid
from rankseg_med.inference.slab import Slab, Waiting, volume_of
from rankseg_med.inference.streaming import StreamingInferer
from rankseg_med.transforms import own_errors_of_transforms

DecodedGrid = Literal["native", "model"]
Ensemble = Literal["mean", "decode"]


@dataclass(frozen=True)
class Predicted:
    """Probabilities of one study, waiting to be decoded; use it once.

    Attributes:
        sessions: One, or one per network of an ensemble that is decoded as such.
        grid: Grid of the image.
    """

    sessions: tuple[SlabSession, ...]
    grid: NativeGrid


_ANY_SIDE = 64
"""Of a window to try a network with, where windows have a side of the whole volume."""


@dataclass(frozen=True)
class SegmentationModel:
    """A network, or several, from image file to label map, slab by slab.

    The three steps (`preprocess`, `predict`, `decode`) may run in different threads, each for another study.

    Attributes:
        preprocessing: Dictionary transforms; from ``{"image": path}``, or a list of paths for several channels, they
            make ``{"image": (channels, *model grid)}``. Of spatial transforms those that keep axes aligned; see
            `NativeGrid`.
        networks: Each maps ``(batch, channels, *window)`` to logits ``(batch, num_classes, *window)``. Several are an
            ensemble.
        inferer: Takes a network over a volume.
        num_classes: Background included.
        decoder: Probabilities to label map.
        grid: ``"native"`` carries probabilities to the image's grid and decodes there. ``"model"`` decodes on the grid
            of the preprocessed image and carries labels (nearest neighbour), which is faster, coarser, and gives
            decisions in the model grid's voxels.
        ensemble: ``"mean"`` decodes the mean of the networks' probabilities, ``"decode"`` decodes for the mean over
            networks of the expected score (`decode_ensemble`), at a session's memory per network.
        network_calibrations: None, or one for each network, of its probabilities on the model grid, after windows were
            averaged: as training fits them.
        calibration: Calibration of what is decoded, on the grid where it is decoded: of the mean over networks, or with
            ensemble ``"decode"`` of each.
        store: Place where probabilities wait: ``"memory"``, or ``"disk"`` for volumes that memory does not hold.
        store_folder: Folder of the temporary file on disk; by default the system's.
    """

    preprocessing: Compose
    networks: Sequence[torch.nn.Module]
    inferer: StreamingInferer
    num_classes: int
    decoder: RankSEGDecoder | ArgmaxDecoder
    grid: DecodedGrid = "native"
    ensemble: Ensemble = "mean"
    network_calibrations: Sequence[Calibration] = ()
    calibration: Calibration | None = None
    store: Store = "memory"
    store_folder: Path | None = None

    def __post_init__(self) -> None:
        if not self.networks:
            raise ValueError("a model needs at least one network, got none")
        if self.ensemble == "decode" and not isinstance(self.decoder, RankSEGDecoder):
            raise ValueError("ensemble 'decode' needs a decoder for dice or iou, got argmax; use ensemble 'mean'")
        if not self.decoder.exclusive or self.inferer.activation != "softmax":
            raise ValueError(
                "a label map needs exclusive classes: activation 'softmax' and a decoder of exclusive classes; "
                f"got activation {self.inferer.activation!r} and {self.decoder!r}"
            )
        if len(self.network_calibrations) not in (0, len(self.networks)):
            raise ValueError(
                f"network_calibrations must be none or one for each of {len(self.networks)} networks, got "
                f"{len(self.network_calibrations)}"
            )
        for calibration in (*self.network_calibrations, self.calibration):
            if calibration is not None and (calibration.num_classes, calibration.independent) != (
                self.num_classes,
                False,
            ):
                raise ValueError(f"a calibration must be of {self.num_classes} exclusive classes, got {calibration!r}")

    def __call__(self, image: Path | Sequence[Path]) -> Decoded:
        """Label map ``(X, Y, Z)`` uint8 of one study on the voxel grid of its file, and the decisions behind it.

        Args:
            image: An image, or several on one grid, a channel each.

        Raises:
            StudyError: The image cannot be used.
            InferenceError: The network returns something else than finite logits per class, or the preprocessing cannot
                be undone axis by axis.
        """
        return self.decode(self.predict(self.preprocess(image)))

    def preprocess(self, image: Path | Sequence[Path]) -> Float[MetaTensor, "channels *model"]:
        """The image as networks take it, with its history; of several on one grid, a channel each."""
        files = image if isinstance(image, Path) or len(image) != 1 else image[0]
        with own_errors_of_transforms():
            preprocessed: MetaTensor = self.preprocessing({"image": files})["image"]
        return preprocessed

    def predict(self, image: Float[MetaTensor, "channels *model"]) -> Predicted:
        """Run the networks over a preprocessed image, slab by slab; see `Waiting.sessions`."""
        grid = NativeGrid.of(image)
        shape = grid.native_shape if self.grid == "native" else grid.model_shape
        count = len(self.networks) if self.ensemble == "decode" else 1
        waiting = Waiting(self.decoder, self.calibration, self.store, self.store_folder)
        return Predicted(waiting.sessions(self._streams(image, grid), self.num_classes, shape, count=count), grid)

    def probabilities(self, image: Path | Sequence[Path]) -> Float[Tensor, "classes *native"]:
        """Mean probabilities of the networks, all at once, for those who want to keep them.

        They are the networks' own, without ``calibration``, which can be fitted to them.

        Args:
            image: An image, or several on one grid, a channel each.

        Returns:
            ``(num_classes, X, Y, Z)`` float32 in main memory, on the voxel grid of the file (``grid`` "native") or of
            the preprocessed image.
        """
        preprocessed = self.preprocess(image)
        grid = NativeGrid.of(preprocessed)
        shape = grid.native_shape if self.grid == "native" else grid.model_shape
        ((axis, slabs),) = replace(self, ensemble="mean")._streams(preprocessed, grid)
        return volume_of(slabs, axis, shape)

    def decode(self, predicted: Predicted) -> Decoded:
        """Label map on the image's grid and the decisions behind it."""
        first = predicted.sessions[0]
        if self.ensemble == "decode":
            decoded = finalize_ensemble([s for s in predicted.sessions if isinstance(s, DecodeSession)])
        else:
            decoded = first.finalize()
        if self.grid == "native":
            return decoded
        return replace(decoded, label_map=predicted.grid.labels(decoded.label_map))

    def _streams(
        self, image: Float[MetaTensor, "channels *model"], grid: NativeGrid
    ) -> Iterator[tuple[int, Iterator[Slab]]]:
        """Axis and slabs of what is decoded: of the mean, or of each network, one after the other."""
        axis = self.inferer.axis_of(image.ndim - 1)
        for network in self.networks:
            _check_channels(network, image.shape[0] * (1 + 2 * self.inferer.neighbours), self.inferer.roi_size)
        # Made as they are asked for: networks that are decoded one after the other need no band beside each other.
        streams = (iter(self.inferer(image.as_tensor(), network, self.num_classes)) for network in self.networks)
        if self.network_calibrations:
            streams = (
                map(partial(_calibrated, calibration=own), slabs)
                for own, slabs in zip(self.network_calibrations, streams, strict=True)
            )
        for slabs in [_mean(list(streams))] if self.ensemble == "mean" else streams:
            if self.grid == "native":
                yield grid.native_axis(axis), _on_native_grid(slabs, grid, axis)
            else:
                yield axis, slabs


def _calibrated(slab: Slab, calibration: Calibration) -> Slab:
    return replace(slab, probabilities=calibration.probabilities(slab.probabilities))


def _mean(streams: Sequence[Iterator[Slab]]) -> Iterator[Slab]:
    """Mean probabilities of networks that go over the same windows."""
    for slabs in zip(*streams, strict=True):
        if len(slabs) == 1:
            yield slabs[0]
        else:
            total = sum((slab.probabilities for slab in slabs[1:]), slabs[0].probabilities)
            yield replace(slabs[0], probabilities=total / len(slabs))


def _on_native_grid(slabs: Iterator[Slab], grid: NativeGrid, axis: int) -> Iterator[Slab]:
    """Probabilities on the image's grid.

    Background is what the other classes leave. Interpolation keeps sums, so this only differs where cropping cut the
    volume: there nothing was found, which is certain background.
    """
    foreground = (replace(slab, probabilities=slab.probabilities[1:]) for slab in slabs)
    for slab in grid.carry(foreground, axis):
        values = slab.probabilities.clamp(0, 1)
        background = (1 - values.sum(0, keepdim=True)).clamp_(min=0)
        yield replace(slab, probabilities=torch.cat([background, values]))


def _check_channels(network: torch.nn.Module, channels: int, roi_size: Sequence[int]) -> None:
    """Compare with the convolutions: the first that are registered need not be the first that are run.

    Where none takes so many, the network may yet share them out or add to them, which a window tells.
    """
    convolutions = [module for module in network.modules() if isinstance(module, torch.nn.modules.conv._ConvNd)]
    convolutions = [module for module in convolutions if module.weight.ndim == len(roi_size) + 2]
    if not convolutions or channels in [module.in_channels for module in convolutions]:
        return
    weight = convolutions[0].weight
    sides = [side if side > 0 else _ANY_SIDE for side in roi_size]
    try:
        with torch.no_grad():
            network(torch.zeros(1, channels, *sides, dtype=weight.dtype, device=weight.device))
    except torch.OutOfMemoryError:
        return
    except RuntimeError as error:
        raise InferenceError(
            f"the network takes {convolutions[0].in_channels} input channels, the study gives {channels}"
        ) from error
