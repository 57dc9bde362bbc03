"""A calibration that follows the network in training."""

from __future__ import annotations

from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.utils import convert_to_tensor

from rankseg_med.calibration import Calibration, Observations
from rankseg_med.studies import StudyError


class CalibrationOnValidation:
    """Fits a calibration to the logits of every validation, before anything else reads them.

    What it is fitted to is kept of whole volumes as they are validated (voxels drawn for a temperature, counts for
    isotonic regression), so that it costs no second pass of the network. Processes that share the volumes out fit to
    all of them, so they have the same calibration.

    Args:
        calibration: Calibration of the network that is validated.
    """

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration
        self._observed: list[Any] = []

    def attach(self, evaluator: Engine) -> None:
        """Follow a MONAI evaluator; its metrics get the calibration's ``summary``.

        The evaluator raises `StudyError` if a class or region does not occur in what it validates on.
        """
        evaluator.add_event_handler(Events.STARTED, self._observed.clear)
        evaluator.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._observe)
        evaluator.add_event_handler(Events.EPOCH_COMPLETED, self._fit)

    def _observe(self, evaluator: Engine) -> None:
        output = evaluator.state.output
        batch = (convert_to_tensor(output[key], track_meta=False) for key in ("pred", "label"))
        for logits, labels in zip(*batch, strict=True):
            truth = labels[0].long().to(logits.device)
            self._observed.append(self.calibration.observe(logits, truth, seed=len(self._observed)))

    def _fit(self, evaluator: Engine) -> None:
        observed = _of_all_processes(type(self._observed[0]).joined(self._observed))
        self._observed.clear()
        try:
            self.calibration.fit(observed)
        except ValueError as error:
            raise StudyError(
                f"the teacher cannot be calibrated on the validation studies: {error}; or set teacher::calibration to "
                "null in the config"
            ) from error
        evaluator.state.metrics.update(self.calibration.summary)


def _of_all_processes(observed: Observations) -> Observations:
    processes = idist.get_world_size()
    if processes == 1:
        return observed
    parts: list[Any] = [None] * processes
    torch.distributed.all_gather_object(parts, observed)
    return type(observed).joined(parts)
