"""A calibration that follows the network in training."""

from __future__ import annotations

import ignite.distributed as idist
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.utils import evenly_divisible_all_gather
from torch import Tensor

from rankseg_med.calibration import Calibration, LabelledVoxels, draw_voxels


class CalibrationOnValidation:
    """Fits a calibration to the logits of every validation, before anything else reads them.

    Voxels of whole volumes are drawn as they are validated, so that it costs no second pass of the network. Processes
    that share the volumes out fit to all of them, so they have the same calibration.

    Args:
        calibration: Of the network that is validated.
    """

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration
        self._voxels: list[LabelledVoxels] = []

    def attach(self, evaluator: Engine) -> None:
        """Follow a MONAI evaluator; its metrics get ``temperature`` and ``bias_<class>``."""
        evaluator.add_event_handler(Events.STARTED, self._voxels.clear)
        evaluator.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._draw)
        evaluator.add_event_handler(Events.EPOCH_COMPLETED, self._fit)

    def _draw(self, evaluator: Engine) -> None:
        output = evaluator.state.output
        for logits, labels in zip(_plain(output["pred"]), _plain(output["label"]), strict=True):
            self._voxels.append(draw_voxels(logits, labels[0].long().to(logits.device), seed=len(self._voxels)))

    def _fit(self, evaluator: Engine) -> None:
        self.calibration.fit(_of_all_processes(LabelledVoxels.joined(self._voxels)))
        self._voxels.clear()
        evaluator.state.metrics["temperature"] = self.calibration.temperature
        for label, bias in enumerate(self.calibration.bias.tolist()[1:], start=1):
            evaluator.state.metrics[f"bias_{label}"] = bias


def _plain(tensor: Tensor) -> Tensor:
    return tensor.as_tensor() if hasattr(tensor, "as_tensor") else tensor


def _of_all_processes(voxels: LabelledVoxels) -> LabelledVoxels:
    if idist.get_world_size() == 1:
        return voxels
    gathered = [
        evenly_divisible_all_gather(part.to(idist.device()), concat=True).cpu()
        for part in (voxels.logits, voxels.labels, voxels.weights)
    ]
    return LabelledVoxels(*gathered)
