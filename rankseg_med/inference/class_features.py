"""What a network makes of the voxels of each class, before its last layer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn import functional as F

from rankseg_med.inference.errors import InferenceError
from rankseg_med.inference.outputs import logits_of
from rankseg_med.inference.streaming import StreamingInferer


def class_features(
    image: Float[Tensor, "channels *spatial"], network: torch.nn.Module, inferer: StreamingInferer, num_classes: int
) -> Float64[np.ndarray, "classes features"]:
    """Mean of a network's last features over the voxels of each class that it predicts.

    Last features are what the layer of the classes is given: the input of the convolutions at the network's end that
    have as many outputs as there are classes, of several the first. On their grid, which may be coarser than the
    window's, the class of a voxel is that with the largest mean probability in its field. Where windows overlap a voxel
    counts in each.

    Args:
        image: ``(channels, *spatial)``, preprocessed.
        network: From windows to logits ``(batch, num_classes, *window)``, in evaluation mode.
        inferer: Takes the network over the image.
        num_classes: Background included.

    Returns:
        ``(num_classes, features)``; NaN for classes that are not found.

    Raises:
        InferenceError: The network does not end in a convolution that gives the classes.
    """
    with _last_features(network, num_classes) as latest:
        means = _MeansByClass(network, num_classes, latest)
        for _ in inferer(image, means, num_classes):
            pass
    with np.errstate(invalid="ignore"):
        found: Float64[np.ndarray, "classes features"] = (means.sums / means.counts[:, None]).numpy()
    return found


class _MeansByClass:
    """A network that adds up, beside its work, its last features by class."""

    def __init__(self, network: torch.nn.Module, num_classes: int, latest: list[Tensor]) -> None:
        self.network = network
        self.num_classes = num_classes
        self.latest = latest
        self.sums = torch.zeros(num_classes, 1, dtype=torch.float64)
        self.counts = torch.zeros(num_classes, dtype=torch.float64)

    def __call__(self, windows: Float[Tensor, "batch channels *window"]) -> object:
        self.latest.clear()
        output = self.network(windows)
        if not self.latest:
            raise InferenceError(
                f"the network must end in a convolution with {self.num_classes} outputs, one for each class, to have "
                "features before it, and does not"
            )
        logits = logits_of(output, self.num_classes, windows.shape[2:])
        (features,) = self.latest
        pool: Any = F.adaptive_avg_pool2d if features.ndim == 4 else F.adaptive_avg_pool3d
        classes = pool(logits.float().softmax(1), features.shape[2:]).argmax(1)
        members = F.one_hot(classes, self.num_classes).flatten(1, -2).float()
        self.sums = self.sums + torch.einsum("bnk,bcn->kc", members, features.flatten(2).float()).double().cpu()
        self.counts += members.sum((0, 1)).double().cpu()
        return output


@contextmanager
def _last_features(network: torch.nn.Module, num_classes: int) -> Iterator[list[Tensor]]:
    """While it lasts, a list that holds the last features of the network's latest run; empty if there are none."""
    latest: list[Tensor] = []

    def look(convolution: Any, inputs: tuple[Tensor, ...]) -> None:  # noqa: ANN401
        if convolution.out_channels != num_classes:
            latest.clear()
        elif not latest:
            latest.append(inputs[0])

    convolutions = (module for module in network.modules() if isinstance(module, torch.nn.modules.conv._ConvNd))
    hooks = [convolution.register_forward_pre_hook(look) for convolution in convolutions]
    try:
        yield latest
    finally:
        for hook in hooks:
            hook.remove()
