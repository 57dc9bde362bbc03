"""Images in, pseudo-labels out, one study at a time."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from monai.bundle import ConfigParser
from torch import Tensor

from rankseg_med.configuration import Config, ConfigError, calibration_file_of
from rankseg_med.decode import DecodeSession
from rankseg_med.inference import Predicted
from rankseg_med.runs import Written
from rankseg_med.semisupervised import PseudoLabel, PseudoLabeller, voxel_runs
from rankseg_med.studies import Study, read_grid, write_fractions
from rankseg_med.threads import one_thread
from rankseg_med.workflows.label_maps import NIFTI, label_map_path, recorded
from rankseg_med.workflows.predict import PredictJob

# Confidence, weight and decoding beside what waits to be decoded: 13 were measured, of 84 million voxels.
_BYTES_PER_VOXEL = 16
# Single precision and two bytes on their way to the file.
_BYTES_PER_SOFT_LABEL = 6


@dataclass(frozen=True)
class Exports:
    """What is written beside a pseudo-label.

    Attributes:
        confidence: ``<case id>_confidence.nii.gz``: in every voxel the probability of the label that it got, 0 where
            the voxel is ignored; a weight for a loss.
        soft_labels: ``<case id>_soft.nii.gz``: the teacher's probabilities, ``(X, Y, Z, classes)``, background first.
    """

    confidence: bool = False
    soft_labels: bool = False

    def paths(self, output: Path, study: Study) -> dict[str, Path]:
        """The files of a study, by what they hold: ``"confidence"``, ``"soft"``."""
        wanted = {"confidence": self.confidence, "soft": self.soft_labels}
        return {name: output / f"{study.case_id}_{name}.nii.gz" for name, is_wanted in wanted.items() if is_wanted}


@dataclass(frozen=True)
class PseudoLabelling:
    """The last step: probabilities in, pseudo-label on disk out.

    Attributes:
        labeller: Decodes, cleans up and judges.
        exports: What else is written.
        output: Folder of the files.
        label_names: Label to name, without the background.
        calibration: What sidecars say of that of the probabilities, or None.
    """

    labeller: PseudoLabeller
    exports: Exports
    output: Path
    label_names: Mapping[int, str] | None = None
    calibration: Mapping[str, Any] | None = None

    def write(self, predicted: tuple[Study, Predicted]) -> Written:
        """Decode, clean up, judge, and write the pseudo-label and what is to lie beside it, each whole or not at all.

        Returns:
            The files, and for the sidecar their `quality` and the calibration.
        """
        study, probabilities = predicted
        (session,) = probabilities.sessions
        if not isinstance(session, DecodeSession):
            raise TypeError(f"pseudo-labels are made of probabilities, got a {type(session).__name__} without them")
        path, more_paths = label_map_path(self.output, study.case_id), self.exports.paths(self.output, study)
        with session, one_thread():
            label = self.labeller.label_session(session)
            if self.exports.soft_labels:
                write_fractions(_probabilities_of(session), more_paths["soft"], study.image)
        if self.exports.confidence:
            confidence = label.confidence.masked_fill(label.weight == 0, 0).cpu()
            write_fractions(confidence, more_paths["confidence"], study.image)
        NIFTI.write(label.label_map.cpu(), path, grid_of=study.image, names=self.label_names)
        details = {"calibration": self.calibration, "label_names": recorded(self.label_names)}
        return Written((path, *more_paths.values()), {**quality(label), **details})


def quality(label: PseudoLabel) -> dict[str, Any]:
    """What a sidecar says of a pseudo-label.

    Returns:
        ``expected_dice`` of each label in [0, 1]; their mean over the labels that occur, 0 if none does
        (``mean_expected_dice``: a tumour that the study does not have must not spoil it); ``voxels`` of each label that
        are not ignored; ``ignored_fraction`` of all voxels; RankSEG's ``decisions``.
    """
    expected = {str(index): value for index, value in enumerate(label.expected_dice.tolist(), start=1)}
    counts = torch.bincount(label.label_map.flatten(), minlength=len(expected) + 1).tolist()
    voxels = {name: counts[int(name)] for name in expected}
    found = [expected[name] for name, number in voxels.items() if number]
    return {
        "expected_dice": expected,
        "mean_expected_dice": sum(found) / len(found) if found else 0.0,
        "voxels": voxels,
        "ignored_fraction": int((label.weight == 0).sum()) / label.weight.numel(),
        "decisions": [asdict(decision) for decision in label.decisions],
    }


def _probabilities_of(session: DecodeSession) -> Float[Tensor, "X Y Z classes"]:
    (blocks,) = session.volumes()
    values = torch.empty((*session.spatial_shape, blocks.num_classes))
    by_voxel = values.view(-1, blocks.num_classes)
    for run, probabilities in voxel_runs(blocks):
        by_voxel[run] = probabilities.T
    return values


class PseudoLabelJob(PredictJob):
    """Images in, pseudo-labels out: as `PredictJob`, but for the last step, which is of the config's pseudo_labeller.

    Probabilities are on the image's own grid, and of several checkpoints their mean. If the config's ``calibration`` is
    a file, they are calibrated by it; else as in training if the config's ``teacher`` has a ``calibration``, which is
    read from the checkpoint.

    Args:
        config: Config of an inference job with a ``pseudo_labeller``, which decodes and cleans up (by the config's own
            decoder, if that is ``"@decoder"``); its decoder, cleanup, grid and ensemble are replaced.
        checkpoints: Checkpoints of the teacher, or of several.
        output: Folder of the pseudo-labels.
        exports: What is written beside them; by default nothing.

    Raises:
        CheckpointError: There is no such checkpoint file.
        CalibrationError: The calibration file cannot be used, or is of another number of classes.
        ConfigError: The config has no ``pseudo_labeller``, or a ``calibration`` that is neither a file nor the
            teacher's.
    """

    name = "pseudo-label"

    def __init__(
        self, config: ConfigParser, checkpoints: Sequence[Path], output: Path, exports: Exports | None = None
    ) -> None:
        super().__init__(_of_teacher(config), checkpoints, output)
        self.exports = exports or Exports()

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the classes, the background first."""
        return tuple(self._config["label_names"])

    def labeller(self) -> PseudoLabeller:
        """Build what decodes, cleans up and judges, as the config says."""
        labeller: PseudoLabeller = self.config.get_parsed_content("pseudo_labeller")
        return labeller

    def build(self) -> tuple[Callable[[Any], Any], ...]:
        """Load the networks; the three steps."""
        prediction = self.prediction()
        names, calibration = prediction.label_maps.names, prediction.label_maps.calibration
        labelling = PseudoLabelling(self.labeller(), self.exports, self.output, names, calibration)
        return prediction.load, prediction.predict, labelling.write

    def outputs_of(self, study: Study) -> tuple[Path, ...]:
        """The pseudo-label, and what is exported."""
        return (*super().outputs_of(study), *self.exports.paths(self.output, study).values())

    def memory_needed(self, study: Study) -> int:
        """Bytes at its worst: of the prediction, and of what is made of it; only the header is read."""
        soft_labels = _BYTES_PER_SOFT_LABEL * len(self.label_names) * self.exports.soft_labels
        voxels = math.prod(read_grid(study.image).shape)
        return super().memory_needed(study) + (_BYTES_PER_VOXEL + soft_labels) * voxels


def _of_teacher(config: ConfigParser) -> Config:
    """The config of the prediction whose probabilities become pseudo-labels."""
    settings = copy.deepcopy(dict(config.get()))
    if not settings.get("pseudo_labeller"):
        raise ConfigError(
            "the config lacks a pseudo_labeller, which says how pseudo-labels are decoded and cleaned up; "
            "add one as in configs/bcp_hippocampus.yaml"
        )
    teacher = settings.get("teacher") or {}
    if not isinstance(teacher, dict):
        raise ConfigError(f"teacher: must be written out, so that its calibration is known, got {teacher!r}")
    calibration = calibration_file_of(config) or teacher.get("calibration")
    if calibration is None and settings.get("calibration") is not None:
        raise ConfigError(
            "calibration: means nothing to pseudo-label, which calibrates as the teacher was in training or by a "
            "file; write teacher::calibration or the path of a file, or leave it out"
        )
    labeller = settings["pseudo_labeller"]
    if isinstance(labeller, dict) and labeller.get("decoder") == "@decoder":
        labeller["decoder"] = settings["decoder"]
    # The decoder opens the sessions that keep the probabilities; what it would decide is not asked for.
    settings |= {
        "decoder": {"_target_": "rankseg_med.decode.RankSEGDecoder"},
        "cleanup": None,
        "grid": "native",
        "ensemble": "mean",
        "calibration": calibration,
    }
    return Config(settings)
