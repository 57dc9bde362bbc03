"""A calibration that follows the network in training."""

from __future__ import annotations

import ignite.distributed as idist
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.utils import convert_to_tensor, evenly_divisible_all_gather

from rankseg_med.calibration import Calibration, LabelledVoxels, draw_voxels
from rankseg_med.studies import StudyError


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
        """Follow a MONAI evaluator; its metrics get ``temperature`` and ``bias_<class>``.

        The evaluator raises `StudyError` if a class does not occur in what it validates on.
        """
        evaluator.add_event_handler(Events.STARTED, self._voxels.clear)
        evaluator.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._draw)
        evaluator.add_event_handler(Events.EPOCH_COMPLETED, self._fit)

    def _draw(self, evaluator: Engine) -> None:
        output = evaluator.state.output
        batch = (convert_to_tensor(output[key], track_meta=False) for key in ("pred", "label"))
        for logits, labels in zip(*batch, strict=True):
            self._voxels.append(draw_voxels(logits, labels[0].long().to(logits.device), seed=len(self._voxels)))

    def _fit(self, evaluator: Engine) -> None:
        voxels = _of_all_processes(LabelledVoxels.joined(self._voxels))
        self._voxels.clear()
        try:
            self.calibration.fit(voxels)
        except ValueError as error:
            raise StudyError(
                f"the teacher cannot be calibrated on the validation studies: {error}; or set teacher::calibration to "
                "null in the config"
            ) from error
        evaluator.state.metrics["temperature"] = self.calibration.temperature
        for label, bias in enumerate(self.calibration.bias.tolist()[1:], start=1):
            evaluator.state.metrics[f"bias_{label}"] = bias


def _of_all_processes(voxels: LabelledVoxels) -> LabelledVoxels:
    if idist.get_world_size() == 1:
        return voxels
    gathered = [
        evenly_divisible_all_gather(part.to(idist.device()), concat=True).cpu()
        for part in (voxels.logits, voxels.labels, voxels.weights)
    ]
    return LabelledVoxels(*gathered)
