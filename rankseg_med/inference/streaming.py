"""Sliding windows over a volume, slab by slab: only a band as high as a window is ever held."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, combinations
from typing import Literal, TypeAlias, TypeVar

import torch
from jaxtyping import Float
from monai.data.utils import compute_importance_map
from monai.utils import BlendMode, PytorchPadMode, ensure_tuple_rep
from torch import Tensor

from rankseg_med.inference.band import Band
from rankseg_med.inference.errors import InferenceError
from rankseg_med.inference.outputs import logits_of
from rankseg_med.inference.slab import Slab
from rankseg_med.inference.windows import Layer, WindowGrid

Activation = Literal["softmax", "sigmoid"]
Network: TypeAlias = Callable[[Tensor], object]
T = TypeVar("T")

_log = logging.getLogger(__name__)
# Values (classes times voxels) handed on at a time.
_SLAB_VALUES = 1 << 22


class StreamingInferer:
    """MONAI's sliding windows, visited slab by slab along one axis.

    Windows, padding and blending, and so the logits, are those of ``monai.inferers.sliding_window_inference``, whose
    output and count map take ``4 * (classes + 1)`` bytes for each voxel of the volume; here they take as many for each
    voxel of a band as high as one window. A slice is finished when no later window can reach it.

    Args:
        roi_size: Size of a window, per spatial axis; 0 or less stands for the volume's own size. For 2-D networks one
            entry less than the volume has axes: windows lie in slices across ``axis``.
        sw_batch_size: Windows given to the network at a time.
        overlap: Overlap of neighbouring windows, in [0, 1); one for all axes, or one each.
        mode: ``"constant"`` weighs a window's voxels alike, ``"gaussian"`` its centre more.
        sigma_scale: Width of the Gaussian, as a share of the window; one for all axes, or one each.
        padding_mode: How a volume smaller than a window is padded, as in ``torch.nn.functional.pad``.
        cval: With what, if by a constant.
        axis: Spatial axis along which slabs follow each other.
        activation: ``"softmax"`` for exclusive classes, ``"sigmoid"`` for independent channels.
        flip_axes: Test-time augmentation: a window's logits are the mean over flips along every subset of these spatial
            axes, so that three axes cost eight times the network. ``"all"`` stands for every axis of a window.
        neighbours: 2.5-D, for 2-D networks: so many slices on either side are given as further channels, lowest slice
            first; beyond the volume its outermost slice is repeated.
        sw_device: Where windows are given to the network; by default where the image is.
        device: Device where the band is; by default ``sw_device``.

    Examples:
        >>> import torch
        >>> network = torch.nn.Conv3d(1, 3, kernel_size=3, padding=1).eval()
        >>> inferer = StreamingInferer((16, 16, 16), overlap=0.5, mode="gaussian")
        >>> slabs = list(inferer(torch.randn(1, 40, 20, 20), network, num_classes=3))
        >>> sum(slab.probabilities.shape[1] for slab in slabs)
        40
    """

    def __init__(
        self,
        roi_size: Sequence[int],
        sw_batch_size: int = 1,
        overlap: float | Sequence[float] = 0.25,
        mode: Literal["constant", "gaussian"] = "constant",
        sigma_scale: float | Sequence[float] = 0.125,
        padding_mode: str = "constant",
        cval: float = 0.0,
        *,
        axis: int = 0,
        activation: Activation = "softmax",
        flip_axes: Sequence[int] | Literal["all"] = (),
        neighbours: int = 0,
        sw_device: torch.device | str | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        overlaps = tuple(overlap) if isinstance(overlap, Sequence) else (overlap,)
        if sw_batch_size < 1 or neighbours < 0 or not all(0 <= share < 1 for share in overlaps):
            raise ValueError(
                "sw_batch_size must be at least 1, neighbours at least 0 and overlap in [0, 1), "
                f"got {sw_batch_size}, {neighbours} and {overlap}"
            )
        if activation not in ("softmax", "sigmoid"):
            raise ValueError(f"activation must be softmax or sigmoid, got {activation!r}")
        self.roi_size = tuple(roi_size)
        self.sw_batch_size = sw_batch_size
        self.overlap = overlap
        self.mode = BlendMode(mode)
        self.sigma_scale = sigma_scale
        self.padding_mode = PytorchPadMode(padding_mode)
        self.cval = cval
        self.axis = axis
        self.activation: Activation = activation
        self.flip_axes = flip_axes
        self.neighbours = neighbours
        self.sw_device = sw_device
        self.device = device

    def __call__(self, image: Float[Tensor, "channels *spatial"], network: Network, num_classes: int) -> Iterator[Slab]:
        """Predict a volume.

        Args:
            image: ``(channels, *spatial)``.
            network: From ``(batch, channels, *window)`` to logits ``(batch, num_classes, *window)``; `logits_of` says
                what else it may return. Should be in evaluation mode.
            num_classes: Background included.

        Returns:
            Slabs of probabilities in ascending order that cover every slice once, on the band's device.

        Raises:
            ValueError: An axis or ``roi_size`` that does not fit the volume.
            InferenceError: The network returned NaN (the message says in which window) or something else than logits,
                or not even one window fits into memory.
        """
        return _Stream(self, image, network, num_classes).slabs()

    def axis_of(self, spatial: int) -> int:
        """The streaming axis of a volume of so many spatial axes, from 0 up."""
        if not -spatial <= self.axis < spatial:
            raise ValueError(f"axis {self.axis} is none of the {spatial} axes of the volume")
        return self.axis % spatial


class _Stream:
    """One volume on its way through one network. Inside, the inferer's axis is the first spatial one."""

    def __init__(
        self, inferer: StreamingInferer, image: Float[Tensor, "channels *spatial"], network: Network, num_classes: int
    ) -> None:
        self.inferer = inferer
        self.network = network
        self.num_classes = num_classes
        spatial = image.ndim - 1
        self.axis = inferer.axis_of(spatial)
        self.planar = len(inferer.roi_size) == spatial - 1
        if not self.planar and len(inferer.roi_size) != spatial:
            raise ValueError(
                f"roi_size must have {spatial} entries for a volume of {spatial} axes, or {spatial - 1} for a 2-D "
                f"network, got {inferer.roi_size}"
            )
        if inferer.neighbours and not self.planar:
            raise ValueError("neighbours are for 2-D networks: give a roi_size of one entry less than the volume has")
        self.image = image.movedim(self.axis + 1, 1)
        self.grid = WindowGrid.of(
            self.image.shape[1:], self._axis_first(inferer.roi_size, 1), self._axis_first(inferer.overlap, 0.0)
        )
        self.flips = self._flips()
        self.batch_size = inferer.sw_batch_size
        self.sw_device = torch.device(inferer.sw_device or image.device)
        weights = compute_importance_map(
            self.grid.roi, inferer.mode, self._axis_first(inferer.sigma_scale, 1.0), dtype=torch.float32
        )
        device = torch.device(inferer.device or self.sw_device)
        self.band = Band(num_classes, self.grid.shape[1:], weights, device)
        if self.band.device.type != device.type:
            _log.warning("out of memory on %s: logits are added up in main memory", device)

    def slabs(self) -> Iterator[Slab]:
        """Finished slices, a few at a time."""
        padded = self._padded_image()
        (before, _), depth = self.grid.padding[0], self.image.shape[1]
        plane = zip(self.grid.padding[1:], self.image.shape[2:], strict=True)
        inside = (slice(None), slice(None), *(slice(n, n + size) for (n, _), size in plane))
        layers = self.grid.layers
        for layer, following in zip(layers, [*layers[1:], None], strict=True):
            self._accumulate(padded, layer)
            finished = self.band.height if following is None else following.start - layer.start
            # Of the finished slices those that are not padding.
            first, last = max(0, before - layer.start), min(finished, before + depth - layer.start)
            step = max(1, _SLAB_VALUES // (self.num_classes * self.image[0, 0].numel()))
            for start in range(first, last, step):
                stop = min(start + step, last)
                logits = self.band.means(start, stop)[inside]
                offset = layer.start - before
                yield Slab(start + offset, stop + offset, self._activated(logits).movedim(1, self.axis + 1))
            self.band.advance(finished)

    def _axis_first(self, values: T | Sequence[T], across: T) -> tuple[T, ...]:
        """Values per axis of the volume, the inferer's first; 2-D windows get ``across`` along it."""
        spatial = self.image.ndim - 1
        given: tuple[T, ...] = ensure_tuple_rep(values, spatial - self.planar)
        if self.planar:
            return (across, *given)
        return (given[self.axis], *given[: self.axis], *given[self.axis + 1 :])

    def _axis_back(self, values: Sequence[T]) -> list[T]:
        """Values in the order of the image's axes, from the inferer's order."""
        first, *others = values
        return [*others[: self.axis], first, *others[self.axis :]]

    def _flips(self) -> list[list[int]]:
        """Axes of the network's input to flip, for every subset of the axes asked for but the empty one."""
        spatial = self.image.ndim - 1
        asked = self.inferer.flip_axes
        if asked == "all":
            asked = [axis for axis in range(spatial) if not (self.planar and axis == self.axis)]
        axes = sorted({int(axis) % spatial for axis in asked if -spatial <= int(axis) < spatial})
        if len(axes) < len(asked) or (self.planar and self.axis in axes):
            raise ValueError(
                f"flip_axes must be different axes of the volume{' within its slices' if self.planar else ''}, "
                f"got {list(asked)} for {spatial} axes"
            )
        dims = [axis + 2 - (self.planar and axis > self.axis) for axis in axes]
        return [list(some) for some in chain.from_iterable(combinations(dims, n) for n in range(1, len(dims) + 1))]

    def _padded_image(self) -> Float[Tensor, "channels *padded"]:
        if not any(chain(*self.grid.padding)):
            return self.image
        return torch.nn.functional.pad(
            self.image[None],
            list(chain(*reversed(self.grid.padding))),
            mode=self.inferer.padding_mode.value,
            value=self.inferer.cval,
        )[0]

    def _accumulate(self, image: Float[Tensor, "channels *padded"], layer: Layer) -> None:
        waiting = list(layer.windows)
        while waiting:
            batch = waiting[: self.batch_size]
            logits = self._predict(image, layer.start, batch)
            if logits is None:
                self._make_room(len(batch))
                continue
            for place, window in zip(batch, logits, strict=True):
                # Extremes hand NaN on, and cost a fraction of looking at every value.
                if not bool(torch.isfinite(torch.stack(torch.aminmax(window))).all()):
                    raise InferenceError(
                        f"the network returned NaN or infinite logits in window [{self._named(layer.start, place)}] of "
                        "the preprocessed image; is the checkpoint sound, and does it hold in this precision?"
                    )
                self.band.add(place, window)
            waiting = waiting[len(batch) :]

    @torch.no_grad()
    def _predict(
        self, image: Float[Tensor, "channels *padded"], start: int, places: Sequence[tuple[slice, ...]]
    ) -> Float[Tensor, "batch classes *roi"] | None:
        """Logits of some windows of a layer; None where memory does not suffice."""
        try:
            windows = torch.stack([self._window(image, start, place) for place in places]).to(self.sw_device)
            return self._mean_over_flips(windows)
        except torch.OutOfMemoryError:
            return None

    def _make_room(self, windows: int) -> None:
        """After the device ran out of memory: fewer windows at a time, then the band in main memory."""
        if windows > 1:
            self.batch_size = (windows + 1) // 2
            _log.warning("out of memory on %s: %d windows at a time from here on", self.sw_device, self.batch_size)
        elif self.band.device.type != "cpu":
            self.band.to_main_memory()
            _log.warning("out of memory on %s: logits are added up in main memory", self.sw_device)
        else:
            raise InferenceError(
                f"not even one window {tuple(self._axis_back(self.grid.roi))} fits into the memory of "
                f"{self.sw_device}; use a smaller roi_size, or another device"
            )
        if self.sw_device.type == "cuda":
            torch.cuda.empty_cache()

    def _window(
        self, image: Float[Tensor, "channels *padded"], start: int, place: tuple[slice, ...]
    ) -> Float[Tensor, "inputs *window"]:
        """A window as the network takes it."""
        if not self.planar:
            where = (slice(None), slice(start, start + self.grid.roi[0]), *place)
            return image[where].movedim(1, self.axis + 1)
        around = self.inferer.neighbours
        slices = torch.arange(start - around, start + around + 1, device=image.device).clamp(0, image.shape[1] - 1)
        within = (slice(None), slice(None), *place)
        return image[within].index_select(1, slices).transpose(0, 1).flatten(0, 1)

    def _mean_over_flips(self, windows: Float[Tensor, "batch channels *shape"]) -> Float[Tensor, "batch classes *roi"]:
        """Logits of windows, the inferer's axis first."""
        mean = self._logits(windows)
        for dims in self.flips:
            mean = mean + self._logits(windows.flip(dims)).flip(dims)
        if self.flips:
            mean = mean / (1 + len(self.flips))
        return mean[:, :, None] if self.planar else mean.movedim(self.axis + 2, 2)

    def _logits(self, windows: Float[Tensor, "batch channels *shape"]) -> Float[Tensor, "batch classes *shape"]:
        return logits_of(self.network(windows), self.num_classes, windows.shape[2:])

    def _activated(self, logits: Float[Tensor, "classes *slab"]) -> Float[Tensor, "classes *slab"]:
        return torch.softmax(logits, 0) if self.inferer.activation == "softmax" else torch.sigmoid(logits)

    def _named(self, start: int, place: tuple[slice, ...]) -> str:
        """Where a window lies in the volume without padding; it may begin before it."""
        window = (slice(start, start + self.grid.roi[0]), *place)
        parts = [f"{p.start - n}:{p.stop - n}" for p, (n, _) in zip(window, self.grid.padding, strict=True)]
        return ", ".join(self._axis_back(parts))
