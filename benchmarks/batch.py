"""A thousand small studies, some broken, workers killed: nothing lost, throughput beside peers, memory over the run.

    python benchmarks/batch.py IMAGES WORK_FOLDER [--studies N] [--methods METHOD ...] [--markdown]

IMAGES is a folder of small real images in NIfTI with 1 mm voxels, such as those of the Medical Segmentation Decathlon's
Task04; each is used again under new ids until there are N. A twentieth, at least ten, are broken, in ten ways. Each
method runs in a fresh process, with the same network (of the config `hippocampus`, random weights), windows and grid,
and takes the cores as it likes; on a machine with other work, OMP_NUM_THREADS=1 is kinder to all of them:

- "ours" is `rankseg-med predict` without its screen: in process, in 2 processes of their own, and in 2 actors on Ray;
  and these two again while a worker is killed at random moments, a kill every 40 studies, with two retries. With random
  weights next to every voxel is contested between classes, the dearest there is to decode; "ours, argmax" does what the
  peers do.
- "MONAI" is the `SupervisedEvaluator` loop of its tutorials, argmax. "nnU-Net" is the predictor of `pip install
  nnunetv2` with the workers of its command line; it is left out where it is not installed. Both get the good studies
  only. Then they get all, to see where they end.

Afterwards every output is read: a good study has an outcome, a sidecar that says done and a label map on its image's
grid; a broken one has a sidecar that says failed with a reason that names its file, and no label map; there is nothing
else. Speed counts good studies and leaves imports out. Growth is resident memory, taken a hundred times over the run:
median of the last tenth by that of the second tenth. Peak is that of all processes together, shared pages counted once.
Linux only. What methods print is in WORK_FOLDER, with their outputs.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from batch_measure import Run, growth, measure
from batch_methods import METHODS, OURS, config, save_weights
from batch_studies import BREAKS, Trial, make_trials
from rich.console import Console
from side_by_side import print_table

from rankseg_med.studies import Sidecar


def wrong_label_maps(trials: Sequence[Trial], output: Path) -> list[str]:
    """Good studies without a readable label map on their grid, and broken ones with a label map."""
    labels = range(len(config()["label_names"]))
    wrong = []
    for trial in trials:
        path = output / trial.study.image.name
        if trial.broken is not None:
            wrong += [f"{path.name}: of a broken study"] * path.exists()
            continue
        try:
            image, label_map = nib.load(trial.study.image), nib.load(path)
            values = np.asarray(label_map.dataobj)
        except (OSError, EOFError, nib.filebasedimages.ImageFileError) as error:
            wrong.append(f"{path.name}: {error}")
            continue
        if label_map.shape != image.shape or not np.allclose(label_map.affine, image.affine, atol=1e-4):
            wrong.append(f"{path.name}: on another grid")
        elif not np.isin(values, labels).all():
            wrong.append(f"{path.name}: other labels")
    return wrong


def wrong_records(trials: Sequence[Trial], output: Path) -> list[str]:
    """Sidecars that do not say what became of a study, and files that should not be there."""
    wrong = []
    # Beside the studies' own: what labels are called, and what a run did.
    expected = {"dseg.tsv", "plan.json", "run.json"}
    for trial in trials:
        study, path = trial.study, Sidecar.path_in(output, trial.study.case_id)
        expected |= {path.name} if trial.broken else {path.name, study.image.name}
        if not path.exists():
            wrong.append(f"{path.name}: not there")
            continue
        sidecar = Sidecar.read(path)
        if sidecar.status != ("failed" if trial.broken else "done"):
            wrong.append(f"{path.name}: {trial.broken or 'good'}, but {sidecar.status}: {sidecar.error}")
        elif trial.broken and str(study.image) not in (sidecar.error or ""):
            wrong.append(f"{path.name}: the reason does not name the file: {sidecar.error}")
    return wrong + [f"{name}: should not be there" for name in {p.name for p in output.iterdir()} - expected]


COLUMNS = ("method", "finished", "events", "wrong", "seconds", "an hour", "x MONAI", "growth", "workers'", "peak GB")


def row_of(method: str, run: Run, good: int, wrong: int, monai_seconds: float) -> tuple[str, ...]:
    """A method's row: outcomes, what is wrong, good studies an hour, also by MONAI's, growth, and peak memory."""

    def shown(value: float, places: int) -> str:
        return f"{value:,.{places}f}" if math.isfinite(value) else "-"

    seconds = math.nan if run.error else run.seconds
    return (
        method,
        f"{run.finished}",
        ", ".join(f"{number} {name}" for name, number in run.numbers.items()) or "-",
        f"{wrong}",
        shown(seconds, 0),
        shown(3600 * good / seconds, 0),
        shown(monai_seconds / seconds, 2),
        shown(growth(run.own_bytes), 3),
        shown(growth(run.workers_bytes), 3),
        shown(run.peak_bytes / 1e9, 2),
    )


def main() -> None:
    """Make the studies, measure every method, check what it wrote, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, metavar="IMAGES")
    parser.add_argument("work", type=Path, metavar="WORK_FOLDER")
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--markdown", action="store_true")
    arguments = parser.parse_args()
    images, work = sorted(arguments.images.glob("*.nii.gz")), arguments.work
    if not images or (work.exists() and any(work.iterdir())):
        parser.error("IMAGES must hold .nii.gz files, and WORK_FOLDER must be new or empty")
    methods = [m for m in arguments.methods if m != "nnU-Net" or find_spec("nnunetv2")]

    console = Console(width=150, highlight=False)
    trials = make_trials(images, work / "studies", arguments.studies, arguments.seed)
    weights = work / "weights.safetensors"
    save_weights(weights)
    good = [trial for trial in trials if trial.broken is None]
    console.print(f"{len(trials)} studies, {len(trials) - len(good)} of them broken; torch {torch.__version__}")

    runs, wrong, ends = dict[str, Run](), dict[str, list[str]](), list[tuple[str, ...]]()
    for method in methods:
        output = work / method.replace(", ", "-").replace(" ", "-")
        ours = method in OURS
        given = trials if ours else good
        runs[method] = run = measure(method, [trial.study for trial in given], weights, output)
        wrong[method] = [run.error] * bool(run.error) + wrong_label_maps(given, output)
        if run.finished != len(given):
            wrong[method].append(f"{run.finished} of {len(given)} studies finished")
        if ours:
            wrong[method] += wrong_records(trials, output)
        else:
            everywhere = output.with_name(f"{output.name}-on-all")
            on_all = measure(method, [trial.study for trial in trials], weights, everywhere)
            taken = {t.broken for t in trials if t.broken and (everywhere / t.study.image.name).exists()}
            ended = on_all.error or "no error"
            ends.append((method, f"{on_all.finished} of {len(trials)}", ended, ", ".join(sorted(taken)) or "-"))
        for line in wrong[method]:
            console.print(f"wrong: {method}: {line}", markup=False)

    monai_seconds = runs["MONAI"].seconds if "MONAI" in runs else math.nan
    rows = [row_of(method, run, len(good), len(wrong[method]), monai_seconds) for method, run in runs.items()]
    print_table(console, "", COLUMNS, rows, markdown=arguments.markdown)
    if ends:
        columns = ("all studies", "finished", "ended with", "broken ones that it predicted")
        print_table(console, "", columns, ends, markdown=arguments.markdown)
    if "ours" in runs:
        reasons = [(broken, _reason(trials, broken, work / "ours")) for broken in BREAKS]
        print_table(console, "", ("broken", "what ours says"), reasons, markdown=arguments.markdown)


def _reason(trials: Sequence[Trial], broken: str, output: Path) -> str:
    """Of the first study that is broken so."""
    for trial in trials:
        if trial.broken == broken:
            path = Sidecar.path_in(output, trial.study.case_id)
            if not path.exists():
                continue
            sidecar = Sidecar.read(path)
            return (sidecar.error or sidecar.status).replace(str(trial.study.image), trial.study.image.name)
    return "-"


if __name__ == "__main__":
    main()
