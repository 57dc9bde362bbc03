"""The package shown end to end on synthetic CT studies."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from rankseg_med.configuration import Device, load_config
from rankseg_med.demo.phantom import make_phantom, write_phantom
from rankseg_med.evaluation import evaluate
from rankseg_med.metrics import Evaluation
from rankseg_med.networks import SHIPPED_WEIGHTS
from rankseg_med.report import save_overlay
from rankseg_med.runs import RunOptions, run_job
from rankseg_med.studies import Study, find_studies
from rankseg_med.workflows import PredictJob

_log = logging.getLogger(__name__)

DECODERS = {"argmax": "argmax", "RankSEG Dice": "dice"}
"""Name in tables and pictures to name in configs."""

_WEIGHTS = SHIPPED_WEIGHTS / "demo.safetensors"
# Seeds that the training recipe never uses; grids as scanners write them: canonical, stored LPS, oblique.
_STUDIES = {
    "canonical": {"seed": 900_001, "shape": (96, 96, 64), "spacing_mm": (3.0, 3.0, 4.0)},
    "stored_lps": {"seed": 900_002, "shape": (112, 112, 52), "spacing_mm": (2.5, 2.5, 5.0), "axis_codes": "LPS"},
    "oblique": {"seed": 900_003, "shape": (88, 88, 80), "spacing_mm": (3.2, 3.2, 3.2), "tilt_degrees": 12.0},
}


def run_demo(output: Path, *, device: Device = "auto") -> dict[str, Evaluation]:
    """Make three phantom studies, predict them with the shipped network by argmax and by RankSEG, and score both.

    Writes ``images/``, ``labels/``, ``predictions/<decoder>/``, ``scores/<decoder>/`` and ``overlays/<case>.png`` below
    ``output``, replacing what an earlier demo wrote there.

    Args:
        output: Folder; created if missing.
        device: Where the network runs.

    Returns:
        Decoder name to evaluation.

    Raises:
        RuntimeError: A study could not be predicted.
    """
    images, labels = output / "images", output / "labels"
    for name, grid in _STUDIES.items():
        write_phantom(make_phantom(**grid), images / f"{name}.nii.gz", labels / f"{name}.nii.gz")  # type: ignore[arg-type]
    studies = find_studies(images)
    evaluations = {}
    for name, decoder in DECODERS.items():
        folder = output / "predictions" / decoder
        config = load_config("inference", "demo", device=device, changes={"decoder::name": decoder})
        label_names = {label: named for label, named in enumerate(config["label_names"]) if label}
        _predict_all(studies, PredictJob(config, [_WEIGHTS], folder), name)
        evaluations[name] = evaluate(folder, labels, label_names, output=output / "scores" / decoder)
    for study in studies:
        _draw(study, output, label_names)
    return evaluations


def _predict_all(studies: Sequence[Study], job: PredictJob, decoder: str) -> None:
    for outcome in run_job(job, studies, RunOptions(overwrite=True)):
        if outcome.error is not None:
            raise RuntimeError(f"{outcome.case.case_id}: {outcome.reason}") from outcome.error
        _log.info("%s, %s: %s in %.1f s", outcome.case.case_id, decoder, outcome.status, outcome.seconds)


def _draw(study: Study, output: Path, label_names: Mapping[int, str]) -> None:
    def canonical(folder: Path) -> nib.Nifti1Image:
        return nib.as_closest_canonical(nib.load(folder / f"{study.case_id}.nii.gz"))

    image = canonical(output / "images")
    label_maps = {"reference": canonical(output / "labels")}
    label_maps |= {name: canonical(output / "predictions" / decoder) for name, decoder in DECODERS.items()}
    save_overlay(
        output / "overlays" / f"{study.case_id}.png",
        np.asarray(image.dataobj),
        {name: np.asarray(label_map.dataobj) for name, label_map in label_maps.items()},
        label_names,
        spacing_mm=tuple(map(float, image.header.get_zooms())),  # type: ignore[arg-type]
        title=study.case_id,
    )
