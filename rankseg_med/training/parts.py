"""What a training is made of, and its checkpoint holds, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from monai.engines import SupervisedTrainer

from rankseg_med.errors import InputError
from rankseg_med.semisupervised import SemiSupervisedMethod
from rankseg_med.studies import Study, StudyError
from rankseg_med.training.checkpoint import BEST, best_checkpoint
from rankseg_med.training.engines import VALIDATION_METRIC


class Identity:
    """Says which training a checkpoint is of, so that it is not taken for another one's.

    Args:
        identity: Identity of the training, by its record.
    """

    def __init__(self, identity: str) -> None:
        self.identity = identity

    def state_dict(self) -> dict[str, str]:
        """For a checkpoint."""
        return {"identity": self.identity}

    def load_state_dict(self, state: Mapping[str, str]) -> None:
        """Compare with a checkpoint.

        Raises:
            ValueError: It is of another training.
        """
        if state["identity"] != self.identity:
            raise InputError(f"training {state['identity']} where the folder is of {self.identity}")


def parts_of(config: ConfigParser, validation: Sequence[Study], output: Path, identity: str) -> dict[str, Any]:
    """All but the trainer, as the config makes it; `network` is what validates.

    Args:
        config: Config of a train job.
        validation: Studies with labels; may be empty.
        output: Folder of the run.
        identity: Identity of the training, by its record.

    Raises:
        StudyError: There is a calibration, and no validation studies to fit it to.
    """
    network = config.get_parsed_content("network")
    parts: dict[str, Any] = {"identity": Identity(identity), "network": network}
    if "method" in config:
        method: SemiSupervisedMethod = config.get_parsed_content("method")
        parts |= {"network": method.teacher.network, "student": network, "method": method}
        if method.teacher.calibration is not None:
            _check_calibration(config, validation)
            parts["calibration"] = method.teacher.calibration
    if validation:
        predictor = {name: part for name, part in parts.items() if name in ("network", "calibration")}
        parts["best"] = best_checkpoint(predictor, output / BEST, VALIDATION_METRIC)
    return {**parts, **{name: config.get_parsed_content(name) for name in ("optimizer", "lr_scheduler")}}


def parts_of_trainer(trainer: SupervisedTrainer, content: Mapping[str, Any] | None) -> dict[str, Any]:
    """The trainer and, with mixed precision, its scaler, brought to where a checkpoint has it, if there is one."""
    if trainer.scaler is None:
        return {"trainer": trainer}
    # A run that was started on a CPU has none.
    if content is not None and "scaler" in content:
        trainer.scaler.load_state_dict(content["scaler"])
    return {"trainer": trainer, "scaler": trainer.scaler}


def _check_calibration(config: ConfigParser, validation: Sequence[Study]) -> None:
    if not validation:
        raise StudyError(
            "the teacher's calibration is fitted to validation studies, but there are none; hold some out with --fold, "
            "or set teacher::calibration to null in the config"
        )
    epochs, every = int(config["epochs"]), int(config["validate_every"])
    if epochs < every:
        raise InputError(
            f"the teacher's calibration is fitted whenever the network is validated, which is every {every} epochs, "
            f"but there are {epochs}; lower validate_every, or set teacher::calibration to null in the config"
        )
