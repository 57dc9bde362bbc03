"""What 6 labels and 114 unlabelled hippocampus volumes are worth: mean teacher, copy-paste, RankSEG pseudo-labels.

    python pipelines/hippocampus_semisupervised.py DATA WORK_FOLDER [--iterations 1000] [--seeds 0 1 2] [--arms ...]

DATA holds ``images/`` and ``labels/`` of the Medical Segmentation Decathlon's Task04. Of its volumes 60 are the test
set, the same for all runs and scored once by the last checkpoint of each; 20 validate, which chooses nothing here; the
others are trained on. A seed chooses the labelled ones of them, the weights, and all randomness. All arms have as many
iterations. Runs use one thread each and ``--jobs`` of them go at a time; a run that was stopped goes on, one that is
finished is not repeated. ``results.md`` in WORK_FOLDER has the tables.
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser

from rankseg_med.cleanup import keep_largest_component
from rankseg_med.decode import make_decoder
from rankseg_med.decode.decoder import DecoderName
from rankseg_med.metrics import Scoring, compare_paired, label_regions, score_label_maps
from rankseg_med.studies import Study, find_studies
from rankseg_med.workflows.config import load_config
from rankseg_med.workflows.train import LAST, split_studies, train, unlabelled_studies

METRICS = {"dice": "Dice", "jaccard": "Jaccard", "hd95_mm": "HD95 (mm)", "assd_mm": "ASD (mm)"}
DECODERS: tuple[DecoderName, ...] = ("argmax", "dice")
Scores = dict[str, dict[str, dict[str, float]]]
"""Decoder to case id to metric to its mean over both classes."""


@dataclass(frozen=True)
class Arm:
    """One way of training.

    Attributes:
        config: Shipped config.
        all_labels: Whether it may look at every label.
        overrides: Of the config.
    """

    config: str
    all_labels: bool = False
    overrides: Mapping[str, Any] = field(default_factory=dict)


FEW, ALL, PUBLISHED, RANKSEG = "supervised_few", "supervised_all", "bcp_published", "bcp_rankseg"
ARMS = {
    FEW: Arm("hippocampus"),
    "mean_teacher": Arm("mean_teacher_hippocampus"),
    PUBLISHED: Arm("bcp_hippocampus", overrides={"pseudo_labeller::decoder": "threshold"}),
    RANKSEG: Arm("bcp_hippocampus"),
    ALL: Arm("hippocampus", all_labels=True),
}


@dataclass(frozen=True)
class Plan:
    """What every run shares.

    Attributes:
        pool: Studies to train on, with labels.
        validation: Studies that are validated on.
        test: Studies that are scored in the end.
        labelled: How many labels a semi-supervised run has.
        iterations: Of every run.
    """

    pool: list[Study]
    validation: list[Study]
    test: list[Study]
    labelled: int
    iterations: int


def make_plan(data: Path, labelled: int, iterations: int, test: int, validation: int) -> Plan:
    """Split the volumes, the same way whenever the same files are there."""
    studies = [Study(s.case_id, s.image, data / "labels" / s.image.name) for s in find_studies(data / "images")]
    random.Random(0).shuffle(studies)
    return Plan(studies[test + validation :], studies[test : test + validation], studies[:test], labelled, iterations)


def config_of(arm: Arm, iterations: int) -> ConfigParser:
    """The arm's config, cut into epochs that end with the iterations."""
    config = load_config("train", arm.config, device="cpu")
    config.update({**arm.overrides})
    config["iterations_per_epoch"] = min(int(config["iterations_per_epoch"]), iterations)
    config["epochs"] = iterations // int(config["iterations_per_epoch"])
    return config


def run(plan: Plan, name: str, seed: int, folder: Path) -> None:
    """Train an arm and score it on the test set; goes on where it was stopped."""
    torch.set_num_threads(1)
    arm, scores = ARMS[name], folder / "scores.json"
    if scores.exists():
        return
    config = config_of(arm, plan.iterations)
    chosen = None if arm.all_labels else plan.labelled
    training, _ = split_studies(plan.pool, fold=None, labelled=chosen, seed=seed)
    unlabelled = unlabelled_studies(plan.pool, training, []) if "method" in config else []
    start, finished = time.perf_counter(), _finished_epochs(folder / LAST)
    if finished < config["epochs"]:
        train(config, training, plan.validation, folder, unlabelled=unlabelled, seed=seed, resume=finished > 0)
    seconds = time.perf_counter() - start
    iterations = (config["epochs"] - finished) * config["iterations_per_epoch"]
    print(f"{folder}: {iterations} iterations and validation in {seconds:.0f} s", flush=True)
    network = config.get_parsed_content("network")
    network.load_state_dict(torch.load(folder / LAST, map_location="cpu", weights_only=True)["network"])
    temporary = scores.with_suffix(".part")
    temporary.write_text(json.dumps(score(config, network, plan.test)))
    temporary.replace(scores)


def _finished_epochs(last: Path) -> int:
    if not last.exists():
        return 0
    content = torch.load(last, map_location="cpu", weights_only=True)
    return int(content["trainer"]["iteration"]) // int(content["trainer"]["epoch_length"])


@torch.no_grad()
def score(config: ConfigParser, network: torch.nn.Module, studies: Sequence[Study]) -> Scores:
    """Decode by argmax and by RankSEG, keep the largest component, measure.

    The images lie on a RAS grid of 1 mm, which is that of the network, so this is the native grid too.
    """
    preprocess, infer = config.get_parsed_content("preprocessing"), config.get_parsed_content("inferer")
    regions = label_regions(dict(enumerate(config["label_names"][1:], start=1)))
    scores: Scores = {decoder: {} for decoder in DECODERS}
    for study in studies:
        item = preprocess({"image": study.image, "label": study.label})
        reference = item["label"][0].numpy().astype(np.uint8)
        probabilities = infer(item["image"][None].as_tensor(), network.eval())[0].float().softmax(0)
        for decoder in DECODERS:
            label_map = keep_largest_component(make_decoder(decoder)(probabilities).numpy(), [[1, 2]])
            rows = score_label_maps(label_map, reference, regions, (1.0, 1.0, 1.0), Scoring(metrics=tuple(METRICS)))
            means = {metric: float(np.mean([row.values[metric] for row in rows])) for metric in METRICS}
            scores[decoder][study.case_id] = means
    return scores


def report(work: Path, arms: Sequence[str], seeds: Sequence[int], heading: str) -> str:
    """Tables in Markdown: every arm by both decoders, and paired differences with 95 % intervals."""
    runs = {arm: {seed: json.loads(_scores(work, arm, seed).read_text()) for seed in seeds} for arm in arms}
    names = " | ".join(METRICS.values())
    lines = [heading, "", f"| arm | decoder | {names} |", "| --- | --- |" + " --- |" * len(METRICS)]
    for arm in arms:
        for decoder in DECODERS:
            cells = [_over_seeds(runs[arm], decoder, metric) for metric in METRICS]
            lines.append(f"| {arm} | {decoder} | {' | '.join(cells)} |")
    lines += ["", "Mean over cases and classes; ± is the standard deviation over seeds.", ""]
    pairs = [(FEW, arm) for arm in arms if arm != FEW and FEW in arms]
    if {PUBLISHED, RANKSEG} <= set(arms):
        pairs.append((PUBLISHED, RANKSEG))
    lines += [f"| from | to (argmax) | {names} | gap closed |", "| --- | --- |" + " --- |" * (len(METRICS) + 1)]
    differences = {pair: [_difference(runs[pair[0]], runs[pair[1]], metric) for metric in METRICS] for pair in pairs}
    gap = differences[FEW, ALL][0][0] if (FEW, ALL) in differences else float("nan")
    for (before, after), changes in differences.items():
        shown = " | ".join(text for _, text in changes)
        closed = f"{100 * changes[0][0] / gap:.0f} %" if before == FEW else ""
        lines.append(f"| {before} | {after} | {shown} | {closed} |")
    lines += ["", "Paired over cases, seeds of a case together; in brackets the 95 % bootstrap interval.", ""]
    return "\n".join(lines)


def _scores(work: Path, arm: str, seed: int) -> Path:
    return work / arm / f"seed_{seed}" / "scores.json"


def _over_seeds(runs: Mapping[int, Scores], decoder: str, metric: str) -> str:
    means = [np.mean([case[metric] for case in scores[decoder].values()]) for scores in runs.values()]
    spread = f" ± {_shown(metric, float(np.std(means, ddof=1)))}" if len(means) > 1 else ""
    return _shown(metric, float(np.mean(means))) + spread


def _difference(before: Mapping[int, Scores], after: Mapping[int, Scores], metric: str) -> tuple[float, str]:
    def by_case_and_seed(runs: Mapping[int, Scores]) -> dict[str, float]:
        argmax = ((seed, scores["argmax"]) for seed, scores in runs.items())
        return {f"{case}/{seed}": values[metric] for seed, cases in argmax for case, values in cases.items()}

    a, b = by_case_and_seed(before), by_case_and_seed(after)
    patients = {key: key.rpartition("/")[0] for key in a | b}
    compared = compare_paired(a, b, higher_is_better=not metric.endswith("_mm"), patients=patients)
    low, high = (_shown(metric, bound, "+") for bound in compared.interval)
    return compared.mean_difference, f"{_shown(metric, compared.mean_difference, '+')} ({low} to {high})"


def _shown(metric: str, value: float, sign: str = "") -> str:
    return f"{value:{sign}.2f}" if metric.endswith("_mm") else f"{100 * value:{sign}.2f}"


def main() -> None:
    """Run what is left to run, then write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--iterations", type=int, default=1000, help="rounded down to whole epochs of 50")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--labelled", type=int, default=6)
    parser.add_argument("--test", type=int, default=60, help="volumes that are scored")
    parser.add_argument("--validation", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each")
    arguments = parser.parse_args()

    plan = make_plan(arguments.data, arguments.labelled, arguments.iterations, arguments.test, arguments.validation)
    _check_same_plan(arguments.work, plan)
    one: Callable[..., None] = partial(run, plan)
    # Seed by seed, so that a comparison over fewer seeds is complete early. Fresh processes, since forked ones keep
    # the threads' settings of this one.
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        runs = [
            pool.submit(one, arm, seed, _scores(arguments.work, arm, seed).parent)
            for seed in arguments.seeds
            for arm in arguments.arms
        ]
        for finished in runs:
            finished.result()
    without_labels = len(plan.pool) - plan.labelled
    heading = (
        f"{plan.labelled} labelled and {without_labels} unlabelled volumes, {len(plan.test)} test volumes, "
        f"{arguments.iterations} iterations, seeds {', '.join(map(str, arguments.seeds))}."
    )
    tables = report(arguments.work, arguments.arms, arguments.seeds, heading)
    (arguments.work / "results.md").write_text(tables)
    print(tables)


def _check_same_plan(work: Path, plan: Plan) -> None:
    """Refuse to mix runs of different plans in one folder."""
    described = {
        "iterations": plan.iterations,
        "labelled": plan.labelled,
        **{part: [study.case_id for study in getattr(plan, part)] for part in ("pool", "validation", "test")},
    }
    path = work / "plan.json"
    if path.exists() and json.loads(path.read_text()) != described:
        raise SystemExit(f"{path}: runs of another plan are here (iterations, labels, split); take another folder")
    work.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(described, indent=1))


if __name__ == "__main__":
    main()
