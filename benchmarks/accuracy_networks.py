"""Train the networks behind the comparison of decoders and store their probabilities.

    OMP_NUM_THREADS=1 python benchmarks/accuracy_networks.py DATA WORK_FOLDER [--dataset lung_nodules]
        [--only CE_0_fold3 ...]

DATA holds the data sets' folders, each with images/ and labels/, and ct/. Every network of the plan that WORK_FOLDER
lacks is trained on one thread and stored whole or not at all, so that a run that was stopped can be started again. The
last weights are taken: tuning and test cases choose nothing. accuracy_stored.py says how it is stored, and reads it.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import monai
import numpy as np
import torch
from accuracy_data import (
    Case,
    Split,
    beside_nodule,
    folds_by_patient,
    hippocampus_split,
    left_atrium_split,
    load_cases,
    lung_without_nodule,
)
from accuracy_stored import (
    NetworkRecord,
    read_probabilities,
    unfinished,
    write_probabilities,
    write_reference,
)
from jaxtyping import Float
from monai.data import set_track_meta
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from monai.transforms import (
    Compose,
    RandFlipd,
    RandScaleIntensityd,
    RandShiftIntensityd,
    RandSpatialCropd,
    SpatialPadd,
)
from safetensors.torch import save_file
from torch import Tensor

from rankseg_med.metrics import dice

_DICE_WEIGHT = {"CE": 0.0, "DiceCE": 1.0}


@dataclass(frozen=True)
class Recipe:
    """How all networks of a data set are built and trained.

    Attributes:
        foreground: Number of foreground classes.
        patch: Voxels of a training patch and of a window of prediction; smaller images are padded.
        strides: Strides of the three levels below the first.
        batch: Patches of an iteration.
        iterations: Iterations of a whole training.
        flipped: Axes along which patches are mirrored.
        overlap: Overlap of windows.
        channels: Channels of the levels.
        learning_rate: Learning rate of AdamW.
        decays: Whether the learning rate falls to 0 by a cosine over the iterations.
    """

    foreground: int
    patch: tuple[int, int, int]
    strides: tuple[tuple[int, int, int], ...]
    batch: int
    iterations: int
    flipped: tuple[int, ...]
    overlap: float = 0.5
    channels: tuple[int, ...] = (16, 32, 64, 128)
    learning_rate: float = 2e-3
    decays: bool = True


_ISOTROPIC = ((2, 2, 2), (2, 2, 2), (2, 2, 2))
RECIPES = {
    "lung_nodules": Recipe(1, (32, 32, 8), ((2, 2, 1), (2, 2, 2), (2, 2, 2)), 16, 800, (0, 1, 2)),
    # Its two classes lie one before the other, so that only left and right may be exchanged.
    "hippocampus": Recipe(2, (40, 56, 40), _ISOTROPIC, 4, 1000, (0,)),
    "sarcoma_pet": Recipe(1, (40, 40, 48), _ISOTROPIC, 4, 500, (0, 1, 2)),
    "left_atrium": Recipe(1, (64, 64, 64), _ISOTROPIC, 2, 1000, (0, 1), overlap=0.25),
}
# Small lesions are rare: small networks that have seen little of them and are uncertain, as in a first look at a task.
SHORT = {
    "CE": Recipe(1, (48, 48, 8), _ISOTROPIC[:2], 4, 300, (), channels=(8, 16, 32), learning_rate=1e-3, decays=False),
    "DiceCE": Recipe(
        1, (48, 48, 8), _ISOTROPIC[:2], 4, 150, (), channels=(8, 16, 32), learning_rate=1e-3, decays=False
    ),
}


@dataclass(frozen=True)
class PlannedNetwork:
    """A network to train.

    Attributes:
        name: Unique within its data set.
        loss: Key of the losses.
        seed: Random seed of weights, batches and augmentation.
        split: The cases.
        recipe: How it is trained.
        iterations: Iterations to run of the recipe's; the learning rate falls as in a whole training.
        fold: Test fold, where there are several.
    """

    name: str
    loss: str
    seed: int
    split: Split
    recipe: Recipe
    iterations: int
    fold: int | None = None


def plan(data: Path, dataset: str, case_ids: Iterable[str]) -> list[PlannedNetwork]:
    """All networks of a data set in the order of running: every fold or variant of a seed before the next seed."""
    recipe = RECIPES[dataset]
    whole = dict.fromkeys(_DICE_WEIGHT, recipe)
    if dataset in ("lung_nodules", "sarcoma_pet"):
        seeds = range(3 if dataset == "lung_nodules" else 2)
        variants = [("", whole), ("_short", SHORT)] if dataset == "lung_nodules" else [("", whole)]
        folds = list(enumerate(folds_by_patient(case_ids)))
        return [
            PlannedNetwork(f"{loss}_{seed}_fold{fold}{suffix}", loss, seed, split, of[loss], of[loss].iterations, fold)
            for (suffix, of), seed, (fold, split), loss in itertools.product(variants, seeds, folds, _DICE_WEIGHT)
        ]
    if dataset == "hippocampus":
        split = hippocampus_split(case_ids)
        stops = [("CE", "", recipe.iterations), ("DiceCE", "", recipe.iterations), ("CE", "_iterations100", 100)]
        return [
            PlannedNetwork(f"{loss}_{seed}{suffix}", loss, seed, split, recipe, stop)
            for seed, (loss, suffix, stop) in itertools.product(range(3), stops)
        ]
    return [
        PlannedNetwork(
            f"{loss}_{seed}_labels{labels}", loss, seed, left_atrium_split(data, labels), recipe, recipe.iterations
        )
        for seed, labels, loss in itertools.product(range(2), (8, 64), _DICE_WEIGHT)
    ]


def train(planned: PlannedNetwork, cases: Sequence[Case]) -> UNet:
    """Train a network from its seed on patches of the cases; the last weights are kept."""
    torch.manual_seed(planned.seed)
    recipe = planned.recipe
    classes = recipe.foreground + 1
    network = UNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=classes,
        channels=recipe.channels,
        strides=recipe.strides,
        num_res_units=1,
        norm="INSTANCE",
    )
    loss_of = DiceCELoss(
        include_background=False,
        to_onehot_y=True,
        softmax=True,
        batch=True,
        lambda_dice=_DICE_WEIGHT[planned.loss],
    )
    optimiser = torch.optim.AdamW(network.parameters(), recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.iterations)
    augment = _augmentation(recipe).set_random_state(planned.seed)
    generator = np.random.default_rng(planned.seed)
    for _ in range(planned.iterations):
        drawn = [cases[place] for place in generator.integers(len(cases), size=recipe.batch)]
        patches = [augment({"image": case.image, "labels": case.labels[None]}) for case in drawn]
        optimiser.zero_grad()
        logits = network(torch.stack([patch["image"] for patch in patches]))
        loss_of(logits, torch.stack([patch["labels"] for patch in patches])).backward()
        optimiser.step()
        if recipe.decays:
            schedule.step()
    return network.eval()


@torch.inference_mode()
def foreground_probabilities(network: UNet, recipe: Recipe, case: Case) -> Float[Tensor, "foreground X Y Z"]:
    """Probabilities of the foreground classes in a case's box, from windows over the whole image."""
    windows = SlidingWindowInferer(recipe.patch, sw_batch_size=4, overlap=recipe.overlap, mode="gaussian")
    logits: Tensor = windows(case.image[None], network)
    return logits[0].softmax(0)[1:, *case.box]


def argmax_dice(probabilities: Float[Tensor, "classes X Y Z"], case: Case) -> float:
    """Argmax Dice in points, mean over the foreground classes that are in the case's reference or the prediction."""
    predicted, reference = probabilities.argmax(0).numpy(), case.labels[case.box].numpy()
    classes = range(1, len(probabilities))
    return 100 * float(np.nanmean([dice(predicted == label, reference == label) for label in classes]))


def train_and_store(
    planned: PlannedNetwork, dataset: str, cases: Mapping[str, Case], lung: list[Case], folder: Path
) -> NetworkRecord:
    """Train a network and store its weights, record and probabilities, whole or not at all.

    Args:
        planned: The network.
        dataset: Its data set.
        cases: All labelled cases of that.
        lung: Cases without structure for every network.
        folder: Folder where to store it; it does not exist yet.
    """
    recipe, split, writing = planned.recipe, planned.split, unfinished(folder)
    shutil.rmtree(writing, ignore_errors=True)
    writing.mkdir(parents=True)
    start = time.perf_counter()
    network = train(planned, [cases[case_id] for case_id in split.training])
    training_seconds = time.perf_counter() - start
    save_file(network.state_dict(), writing / "weights.safetensors")

    without_structure = list(lung)
    if lung:
        without_structure += filter(None, (beside_nodule(cases[case_id]) for case_id in split.test))
    with_structure = [cases[case_id] for case_id in (*split.tuning, *split.test)]
    for case in (*with_structure, *without_structure):
        write_reference(folder.parent, case.case_id, case.labels[case.box], case.spacing_mm)
        write_probabilities(writing, case.case_id, foreground_probabilities(network, recipe, case))
    dice_of = {case.case_id: argmax_dice(read_probabilities(writing, case.case_id), case) for case in with_structure}
    record = NetworkRecord(
        dataset=dataset,
        name=planned.name,
        loss=planned.loss,
        seed=planned.seed,
        fold=planned.fold,
        training=split.training,
        tuning=split.tuning,
        test=split.test,
        without_structure=tuple(case.case_id for case in without_structure),
        iterations=planned.iterations,
        training_seconds=training_seconds,
        tuning_dice={case_id: dice_of[case_id] for case_id in split.tuning},
        test_dice={case_id: dice_of[case_id] for case_id in split.test},
        versions={"python": platform.python_version(), "torch": torch.__version__, "monai": monai.__version__},
    )
    (writing / "network.json").write_text(record.model_dump_json(indent=1))
    writing.rename(folder)
    return record


def _augmentation(recipe: Recipe) -> Compose:
    both = ["image", "labels"]
    return Compose(
        [
            RandSpatialCropd(both, recipe.patch, random_size=False),
            *(RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in recipe.flipped),
            RandScaleIntensityd("image", factors=0.1, prob=0.5),
            RandShiftIntensityd("image", offsets=0.05, prob=0.5),
            # After the intensities, so that padding is 0 as in prediction.
            SpatialPadd(both, recipe.patch),
        ]
    )


def main() -> None:
    """Train and store what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--dataset", nargs="+", choices=RECIPES, default=list(RECIPES), help="all in turn by default")
    parser.add_argument("--only", nargs="+", metavar="NETWORK", help="names of networks of the plan; all by default")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    set_track_meta(False)
    for dataset in arguments.dataset:
        cases = load_cases(arguments.data, dataset)
        lung = lung_without_nodule(arguments.data) if dataset == "lung_nodules" else []
        planned = [
            network
            for network in plan(arguments.data, dataset, cases)
            if arguments.only is None or network.name in arguments.only
        ]
        for number, network in enumerate(planned, start=1):
            folder = arguments.work / dataset / network.name
            title = f"{dataset} {number}/{len(planned)} {network.name}"
            if folder.exists():
                print(f"{title}: stored already", flush=True)
                continue
            start = time.perf_counter()
            record = train_and_store(network, dataset, cases, lung, folder)
            tuning, test = (np.mean(list(values.values())) for values in (record.tuning_dice, record.test_dice))
            print(
                f"{title}: trained {record.training_seconds:.0f} s, all {time.perf_counter() - start:.0f} s, "
                f"argmax Dice tuning {tuning:.2f} test {test:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
