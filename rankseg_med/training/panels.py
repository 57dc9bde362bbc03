"""What the network sees, is to learn and predicts, as pictures in TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.visualize import plot_2d_or_3d_image
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter


class ImagePanels:
    """Image, label and prediction of a batch's first image; volumes as films along the last axis.

    Images of a semi-supervised method are those that the student sees, such as mixes, and the label is what it is to
    learn of them. MONAI's `TensorBoardImageHandler` shows the loader's batch, which is neither. Of classifiers
    there is the image alone.

    Args:
        writer: Writes TensorBoard's files.
        name: Name of the engine, as in its pictures' names: ``train/image``, ``train/label``, ``train/prediction``.
        every: Epochs between pictures.
    """

    def __init__(self, writer: SummaryWriter, name: str, every: int = 1) -> None:
        self.writer = writer
        self.name = name
        self.every = every

    def attach(self, engine: Engine) -> None:
        """Show the last batch of an engine's epochs."""
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.every), self)
        engine.add_event_handler(Events.COMPLETED, lambda: self.writer.flush())

    def __call__(self, engine: Engine) -> None:
        """Show the batch that the engine is done with."""
        output: Any = engine.state.output
        first = output[0] if isinstance(output, list) else {key: _first(value) for key, value in output.items()}
        panels = {"image": first["image"]}
        if first["pred"].ndim > 1:
            prediction = first["pred"].argmax(0, keepdim=True)
            panels |= {"label": _label_map(first["label"]), "prediction": prediction}
        for panel, shown in panels.items():
            plot_2d_or_3d_image(
                shown[:1][None].detach().float().cpu(),
                step=engine.state.epoch,
                writer=self.writer,
                frame_dim=-1,
                tag=f"{self.name}/{panel}",
            )


def _first(value: Any) -> Any:  # noqa: ANN401  (tensors, a dictionary or a list of them, or a scalar loss)
    if isinstance(value, Mapping):
        return value["label"][0]
    # Of networks that return more than logits while they are trained, as those with deep supervision do.
    if isinstance(value, list | tuple):
        return _first(value[0])
    return value[0] if isinstance(value, torch.Tensor) and value.ndim else value


def _label_map(label: Tensor) -> Tensor:
    """Label map of a label ``(1, *spatial)`` or of masks ``(classes, *spatial)``."""
    return label if label.shape[0] == 1 else label.argmax(0, keepdim=True)
