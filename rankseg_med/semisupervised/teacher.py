"""The teacher: an average of the student over its past."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler
from jaxtyping import Float
from torch import Tensor, distributed

from rankseg_med.calibration import Calibration, calibrated
from rankseg_med.semisupervised.logits_alone import logits_alone

TeacherBuffers = Literal["average", "copy", "own"]


class Teacher:
    r"""Exponential moving average of a student, $\theta' \leftarrow d\,\theta' + (1 - d)\,\theta$ after each step.

    Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017. Ignite's `EMAHandler` averages the
    parameters. Buffers are handled here: its ``"copy"`` makes teacher and student share one tensor, and its
    ``"update"`` does so with integer buffers, so that the teacher's batch-norm statistics would change behind its back.

    Args:
        student: The network in training; the teacher starts as a copy of it. Wrapped in `DistributedDataParallel`, the
            module inside counts. In several processes students are equal, and so are teachers: their buffers, which
            depend on the batch, are those of the first process, as `DistributedDataParallel` has it with the student's.
        decay: $d$, in (0, 1). Bidirectional copy-paste uses 0.99; Ignite's ``momentum`` is 1 less this.
        buffers: Running means and variances of batch norm. ``"average"``: as the parameters, counters copied.
            ``"copy"``: the student's values. ``"own"``: the teacher stays in train mode and gathers its own, as the
            published code for LA and pancreas does.
        every: Student iterations per update; that of gradient accumulation, where there is one.
        calibration: What stands between the network and its probabilities; whoever trains fits it from time to time, as
            `rankseg-med train` does to the validation studies. None: nothing.

    Attributes:
        network: The averaged network; its parameters need no gradient.
    """

    def __init__(
        self,
        student: torch.nn.Module,
        decay: float = 0.99,
        buffers: TeacherBuffers = "average",
        every: int = 1,
        calibration: Calibration | None = None,
    ) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"decay must lie between 0 and 1, got {decay}; Ignite's momentum is 1 - decay")
        if buffers not in get_args(TeacherBuffers):
            raise ValueError(f"buffers must be one of {', '.join(get_args(TeacherBuffers))}, got {buffers!r}")
        if every < 1:
            raise ValueError(f"every must be at least one iteration, got {every}")
        self.decay = decay
        self.buffers = buffers
        self.every = every
        self.calibration = calibration
        # "ema_train" is the mode in which Ignite leaves buffers alone.
        self._average = EMAHandler(student, momentum=1 - decay, handle_buffers="ema_train")
        self.network: torch.nn.Module = self._average.ema_model
        self.network.requires_grad_(False).train(buffers == "own")

    def attach(self, trainer: Engine) -> None:
        """Follow the student that a trainer trains, from its next iteration on."""
        event = Events.ITERATION_COMPLETED(every=self.every)
        # By a name of its own, or a second teacher would take the first one's decay.
        self._average.attach(trainer, name=f"ema_momentum_{id(self)}", event=event)
        trainer.add_event_handler(event, self._follow_buffers)

    @property
    def calibrated_network(self) -> torch.nn.Module:
        """Images to logits; with the calibration behind the averaged network, if there is one."""
        return calibrated(self.network, self.calibration)

    @torch.no_grad()
    def probabilities(
        self, images: Float[Tensor, "batch channels *spatial"]
    ) -> Float[Tensor, "batch classes *spatial"]:
        """Softmax of the teacher's logits, calibrated if it has a calibration; float32, without gradient.

        On CUDA the network computes in half precision.

        Raises:
            InputError: The network returns a list in the mode that the teacher is in.
        """
        with torch.autocast(images.device.type, enabled=images.is_cuda):
            logits = logits_alone(self.network(images))
            if self.calibration is not None:
                logits = self.calibration(logits)
        return logits.float().softmax(1)

    @torch.no_grad()
    def _follow_buffers(self) -> None:
        for own, students in zip(self.network.buffers(), self._average.model.buffers(), strict=True):
            if self.buffers == "average" and own.is_floating_point():
                own.lerp_(students, 1 - self.decay)
            elif self.buffers != "own":
                own.copy_(students)
            if distributed.is_initialized():
                distributed.broadcast(own, src=0)
