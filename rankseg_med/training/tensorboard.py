"""What a training shows in TensorBoard while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import TensorBoardStatsHandler
from torch.utils.tensorboard import SummaryWriter

from rankseg_med.training.engines import loss_of
from rankseg_med.training.panels import ImagePanels


def show_in_tensorboard(
    writer: SummaryWriter, trainer: SupervisedTrainer, evaluator: SupervisedEvaluator | None, *, panels_every: int
) -> None:
    """Show losses of every iteration, metrics of every validation, and pictures of both.

    Args:
        writer: Writes it; stays open.
        trainer: As `make_trainer` made it.
        evaluator: As `make_evaluator` made it, if the training validates.
        panels_every: Epochs of the training between pictures.
    """
    scalars = partial(_scalars_of, trainer.prepare_batch)
    TensorBoardStatsHandler(writer, output_transform=scalars).attach(trainer)
    ImagePanels(writer, "train", panels_every).attach(trainer)
    if evaluator is not None:
        TensorBoardStatsHandler(writer, output_transform=lambda _: None).attach(evaluator)
        ImagePanels(writer, "validation").attach(evaluator)


def _scalars_of(learner: Any, output: Mapping[str, Any]) -> dict[str, float]:  # noqa: ANN401
    return {"train_loss": loss_of(output), **learner.scalars}
