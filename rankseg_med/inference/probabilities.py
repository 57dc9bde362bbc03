"""Image to class probabilities on the image's own grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float32
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd
from torch import Tensor

from rankseg_med.transforms.errors import own_errors_of_transforms


class InferenceError(RuntimeError):
    """A network or preprocessing that does not do what a segmentation needs; the message says what it did."""


@dataclass(frozen=True)
class ProbabilityModel:
    """A trained network with everything around it that turns an image file into class probabilities.

    Attributes:
        preprocessing: Dictionary transforms; from ``{"image": path}`` they make ``{"image": (channels, *model grid)}``.
            Its spatial transforms must be invertible.
        network: Maps ``(batch, channels, *window)`` to logits ``(batch, num_classes, *window)``.
        inferer: Calls the network on a whole volume, such as MONAI's `SlidingWindowInferer`.
        num_classes: Background included.
    """

    preprocessing: Compose
    network: torch.nn.Module
    inferer: Callable[[Tensor, torch.nn.Module], Tensor]
    num_classes: int

    @torch.inference_mode()
    def __call__(self, image: Path) -> Float32[Tensor, "classes X Y Z"]:
        """Predict one image.

        Args:
            image: An image file.

        Returns:
            Probabilities ``(num_classes, X, Y, Z)`` float32 on the CPU, on exactly the voxel grid of the file.

        Raises:
            StudyError: The image cannot be used.
            InferenceError: The network returns something else than logits per class, NaN among them, or the
                preprocessing cannot be inverted.
        """
        with own_errors_of_transforms():
            data = self.preprocessing({"image": image})
        logits = self._logits(data["image"])
        # Background is what the other classes leave. Interpolation keeps sums, so this only differs where cropping cut
        # the volume: there the inverse pads with zeros, and "nothing found" is certain background.
        foreground = self._on_native_grid(torch.softmax(logits.float(), 0)[1:].cpu(), data["image"])
        background = (1 - foreground.sum(0, keepdim=True)).clamp_(min=0)
        return torch.cat([background, foreground])

    def _logits(self, image: MetaTensor) -> Float32[Tensor, "classes X Y Z"]:
        channels = self.network_channels
        if channels is not None and channels != image.shape[0]:
            raise InferenceError(f"the network takes {channels} input channels, the study has {image.shape[0]}")
        logits = self.inferer(image.as_tensor()[None], self.network)
        if not isinstance(logits, Tensor):
            raise InferenceError(
                f"the network must return one tensor of logits, found {type(logits).__name__}; "
                "switch deep supervision off for inference"
            )
        expected = (1, self.num_classes, *image.shape[1:])
        if tuple(logits.shape) != expected:
            raise InferenceError(
                f"the network must return logits {expected} for num_classes={self.num_classes}, "
                f"found {tuple(logits.shape)}; does the config's label list fit the network?"
            )
        if not bool(torch.isfinite(logits).all()):
            raise InferenceError("the network returned NaN or infinite logits; is the checkpoint sound?")
        return logits[0]

    @property
    def network_channels(self) -> int | None:
        """Input channels of the network, where it says so (as MONAI's networks and plain convolutions do)."""
        first = next((m for m in self.network.modules() if isinstance(m, torch.nn.modules.conv._ConvNd)), None)
        return None if first is None else int(first.in_channels)

    def _on_native_grid(self, foreground: Tensor, preprocessed: MetaTensor) -> Tensor:
        invert = Invertd("probabilities", transform=self.preprocessing, orig_keys="image", nearest_interp=False)
        # Invertd looks for the applied transforms in the metadata only if both are MetaTensors.
        inverted = invert({"probabilities": MetaTensor(foreground), "image": preprocessed})["probabilities"]
        native_shape = tuple(int(size) for size in preprocessed.meta["spatial_shape"])
        # Invertd only warns where it cannot invert, and hands on what it has.
        if tuple(inverted.shape[1:]) != native_shape:
            raise InferenceError(
                f"the preprocessing could not be undone: the image is {native_shape}, probabilities came back "
                f"as {tuple(inverted.shape[1:])}; use invertible spatial transforms only"
            )
        probabilities: Tensor = inverted.as_tensor().clamp_(0, 1)
        return probabilities
