"""One of the processes that tests/training/test_processes.py starts with torchrun.

    torchrun --nproc_per_node 2 training_process.py FOLDER

FOLDER holds ``images`` and ``labels``. Trains once in a go and once in two parts, and leaves what it saw in
``process_<rank>.pt``.
"""

import sys
from pathlib import Path

import torch
from torch import distributed

from rankseg_med.configuration.config import load_config
from rankseg_med.semisupervised import BidirectionalCopyPaste
from rankseg_med.studies import Study, find_studies
from rankseg_med.training.processes import joined_processes
from rankseg_med.training.training import train

seen: list[float] = []
reports: list[int] = []


class Watched(BidirectionalCopyPaste):
    """Notes the unlabelled images that it is given."""

    def prepare(self, images, labels, unlabelled):
        seen.append(float(unlabelled.double().sum()))
        return super().prepare(images, labels, unlabelled)


def settings(epochs: int):
    config = load_config("train", "bcp_hippocampus", device="cpu")
    config.update(
        {
            **{"roi_size": [16, 16, 16], "iterations_per_epoch": 3, "validate_every": 1, "epochs": epochs},
            "network_def::channels": [4, 8],
            "network_def::strides": [2],
            "network_def::norm": "BATCH",
            "lr_scheduler::total_iters": 3,
            "pseudo_labeller::decoder": "rankseg",
            "pseudo_labeller::min_confidence": 0.0,
            "teacher::calibration": {"_target_": "rankseg_med.calibration.Temperature", "num_classes": "@num_classes"},
            "method::_target_": f"{__name__}.Watched",
            "method::pretraining_iterations": 2,
        }
    )
    return config


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    studies = find_studies(folder / "images")
    labelled = [Study(s.case_id, s.image, folder / "labels" / s.image.name) for s in studies]
    training, validation, unlabelled = labelled[:2], labelled[2:5], studies[5:]
    options = {"unlabelled": unlabelled, "on_epoch": lambda progress: reports.append(progress.epoch)}
    with joined_processes(torch.device("cpu")):
        config = settings(3)
        train(config, training, validation, folder / "whole", **options)
        method = config.get_parsed_content("method")
        result = {
            "seen": list(seen),
            "reports": list(reports),
            "teacher": method.teacher.network.state_dict(),
            "calibration": method.teacher.calibration.state_dict(),
            "student": config.get_parsed_content("network").state_dict(),
        }
        train(settings(2), training, validation, folder / "parts", **options)
        train(settings(3), training, validation, folder / "parts", resume=True, **options)
        torch.save(result, folder / f"process_{distributed.get_rank()}.pt")


if __name__ == "__main__":
    main()
