"""Decode what nnU-Net v2 predicted, by argmax and by RankSEG, and compare where references are given.

    nnUNetv2_predict -i imagesTs -o PREDICTIONS --save_probabilities ...
    python pipelines/nnunet_output.py PREDICTIONS WORK_FOLDER [--references labelsTs]

PREDICTIONS is used as nnU-Net leaves it: ``dataset.json`` says what the channels are (classes, or regions by sigmoid),
and the label map beside each ``.npz`` where it lies. Label maps go to WORK_FOLDER/argmax and WORK_FOLDER/dice, each
with its expected scores in a JSON file; scores to WORK_FOLDER/scores_argmax and WORK_FOLDER/scores_dice.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from rankseg_med.configuration import load_config
from rankseg_med.evaluation import evaluate, plan_evaluation
from rankseg_med.report import as_terminal, comparison_table
from rankseg_med.runs import run_job
from rankseg_med.studies import NnunetLabels, find_probabilities, read_nnunet_labels
from rankseg_med.workflows import DecodeJob

DECODERS = {"argmax": "argmax", "dice": "RankSEG Dice"}


def decode(predictions: Path, output: Path, decoder: str, labels: NnunetLabels | None) -> int:
    """Decode every case that is not decoded yet; returns how many could not be."""
    config = load_config("decode", None)
    config["decoder::name"] = decoder
    failures = 0
    for outcome in run_job(DecodeJob(config, output, labels), find_probabilities(predictions)):
        print(f"{decoder}: {outcome.case.case_id}: {outcome.status} {outcome.reason}".rstrip(), flush=True)
        failures += outcome.status in ("failed", "stale")
    return failures


def main() -> None:
    """Decode by both decoders, then score both against the references."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predictions", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--references", type=Path, help="folder of label maps, such as labelsTs")
    arguments = parser.parse_args()

    labels = read_nnunet_labels(arguments.predictions)
    failures = sum(decode(arguments.predictions, arguments.work / name, name, labels) for name in DECODERS)
    if arguments.references is not None:
        if labels is None:
            parser.error(f"{arguments.predictions} has no dataset.json, which says what there is to score")
        plan = plan_evaluation(regions=labels.names)
        evaluations = {
            shown: evaluate(arguments.work / name, arguments.references, plan, output=arguments.work / f"scores_{name}")
            for name, shown in DECODERS.items()
        }
        Console().print(as_terminal(comparison_table(evaluations)))
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
