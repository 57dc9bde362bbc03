"""What benchmarks/batch.py compares: ways to predict many studies with one network, each run in a fresh process.

Every method gets the studies, the weights and a folder, writes ``<case id>.nii.gz`` for each study, and calls ``tick``
whenever it has finished one. What none of them does: resample (the images have 1 mm voxels), flip, clean up.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from threading import Timer

import numpy as np
import psutil
import torch
from ignite.engine import Events
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator
from monai.inferers import SlidingWindowInferer
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    EnsureChannelFirstd,
    Invertd,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
    SaveImaged,
    Spacingd,
)
from safetensors.torch import save_file

from rankseg_med.configuration import load_config
from rankseg_med.executors import Executor, InProcess, InProcesses, OnRay
from rankseg_med.networks import load_weights
from rankseg_med.runs import RunOptions, run_job
from rankseg_med.studies import Study
from rankseg_med.workflows import PredictJob

Tick = Callable[[], None]
Method = Callable[[Sequence[Study], Path, Path, Tick], dict[str, int]]
"""Studies, weights, output folder and tick to numbers worth telling."""

WORKERS = 2
_STUDIES_PER_KILL = 40
_RETRIES = 2  # a study whose worker is killed twice has failed; so rarely that it fails three times
_LOADERS = 4  # of MONAI's tutorials
_NNUNET_PROCESSES = 3  # of nnU-Net's command line, to read and to write


def config() -> ConfigParser:
    """Of the network and its windows, which all methods have in common."""
    settings = load_config("inference", "hippocampus", device="cpu")
    settings["cleanup"] = None
    return settings


def save_weights(path: Path) -> None:
    """Random, always the same: only speed is looked at."""
    torch.manual_seed(0)
    save_file(config().get_parsed_content("network").state_dict(), path)


def _network(weights: Path) -> torch.nn.Module:
    network: torch.nn.Module = config().get_parsed_content("network")
    load_weights(network, weights)
    return network


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """Those of its descendants that work on studies: not Ray's own processes, nor multiprocessing's tracker."""
    workers = []
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            command = " ".join(child.cmdline())
            if "spawn_main" in command or command.startswith("ray::_Actor"):
                workers.append(child)
    return workers


class _Killer:
    """Kills a worker now and then, at a moment that has nothing to do with what it does."""

    def __init__(self, studies: int) -> None:
        self._random = random.Random(0)
        self._at = set(self._random.sample(range(studies * 9 // 10), max(2, studies // _STUDIES_PER_KILL)))
        self._ticks = 0
        self.kills = 0

    def tick(self) -> None:
        self._ticks += 1
        if self._ticks in self._at:
            timer = Timer(self._random.uniform(0, 1), self._kill)
            timer.daemon = True
            timer.start()

    def _kill(self) -> None:
        workers = workers_of(psutil.Process())
        if workers:
            with suppress(psutil.NoSuchProcess):
                self._random.choice(workers).kill()
                self.kills += 1


def _ours(
    studies: Sequence[Study],
    weights: Path,
    output: Path,
    tick: Tick,
    *,
    decoder: str = "dice",
    executor: Executor | None = None,
    killed: bool = False,
) -> dict[str, int]:
    settings = config()
    settings["decoder::name"] = decoder
    job = PredictJob(settings, [weights], output)
    killer = _Killer(len(studies))
    seen, retried = set[str](), 0
    for outcome in run_job(
        job, studies, RunOptions(executor=executor or InProcess(), retries=_RETRIES if killed else 0)
    ):
        if outcome.case.case_id in seen:
            raise RuntimeError(f"{outcome.case.case_id} has two outcomes")
        seen.add(outcome.case.case_id)
        retried += outcome.status == "done" and outcome.attempts > 1
        tick()
        if killed:
            killer.tick()
    return {"kills": killer.kills, "retried": retried}


def _monai(studies: Sequence[Study], weights: Path, output: Path, tick: Tick) -> dict[str, int]:
    """The evaluation loop of MONAI's tutorials."""
    settings = config()
    preprocessing = Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image"),
            Orientationd("image", "RAS", labels=None),
            Spacingd("image", settings["spacing_mm"], mode="bilinear", padding_mode="border"),
            NormalizeIntensityd("image"),
        ]
    )
    postprocessing = Compose(
        [
            Activationsd("pred", softmax=True),
            Invertd("pred", preprocessing, orig_keys="image", nearest_interp=False),
            AsDiscreted("pred", argmax=True),
            SaveImaged(
                "pred",
                output_dir=output,
                output_postfix="",
                output_dtype=np.uint8,
                separate_folder=False,
                resample=False,
                print_log=False,
            ),
        ]
    )
    windows = settings["inferer"]
    dataset = Dataset([{"image": str(study.image)} for study in studies], preprocessing)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(dataset, batch_size=1, num_workers=_LOADERS),
        network=_network(weights),
        inferer=SlidingWindowInferer(
            settings["roi_size"], windows["sw_batch_size"], windows["overlap"], windows["mode"]
        ),
        postprocessing=postprocessing,
    )
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, tick)
    evaluator.run()
    return {}


def _nnunet(studies: Sequence[Study], weights: Path, output: Path, tick: Tick) -> dict[str, int]:
    """nnU-Net v2's predictor, with the plans of a data set that has the config's spacing and window."""
    settings = config()
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    plans = {
        "dataset_name": "Dataset004_Hippocampus",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {}},
        "configurations": {
            "3d_fullres": {
                "data_identifier": "nnUNetPlans_3d_fullres",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": settings["roi_size"][::-1],  # SimpleITK's arrays are (Z, Y, X)
                "spacing": settings["spacing_mm"][::-1],
                "normalization_schemes": ["ZScoreNormalization"],
                "use_mask_for_norm": [False],
                "resampling_fn_data": "resample_data_or_seg_to_shape",
                "resampling_fn_data_kwargs": resampling,
                "resampling_fn_seg": "resample_data_or_seg_to_shape",
                "resampling_fn_seg_kwargs": {**resampling, "is_seg": True},
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities_kwargs": resampling,
                "architecture": {},  # the network is given
                "batch_dice": True,
            }
        },
    }
    labels = {name: label for label, name in enumerate(settings["label_names"])}
    dataset = {"channel_names": {"0": "MRI"}, "labels": labels, "file_ending": ".nii.gz"}
    predicting = import_module("nnunetv2.inference.predict_from_raw_data")
    handler = import_module("nnunetv2.utilities.plans_handling.plans_handler").PlansManager(plans)
    predictor = predicting.nnUNetPredictor(
        tile_step_size=1 - settings["inferer"]["overlap"],
        use_gaussian=True,
        use_mirroring=False,
        perform_everything_on_device=False,
        device=torch.device("cpu"),
        allow_tqdm=False,
    )
    network = _network(weights)
    predictor.manual_initialization(
        network,
        handler,
        handler.get_configuration("3d_fullres"),
        [network.state_dict()],
        dataset,
        "nnUNetTrainer",
        None,
    )
    predict = predictor.predict_logits_from_preprocessed_data

    def predict_and_tick(data: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = predict(data)
        tick()
        return logits

    predictor.predict_logits_from_preprocessed_data = predict_and_tick
    predictor.predict_from_files(
        [[str(study.image)] for study in studies],
        [str(output / study.case_id) for study in studies],
        num_processes_preprocessing=_NNUNET_PROCESSES,
        num_processes_segmentation_export=_NNUNET_PROCESSES,
    )
    return {}


OURS: dict[str, Method] = {
    "ours": _ours,
    "ours, argmax": partial(_ours, decoder="argmax"),
    "ours, 2 processes": partial(_ours, executor=InProcesses(WORKERS)),
    "ours, 2 processes, killed": partial(_ours, executor=InProcesses(WORKERS), killed=True),
    "ours, Ray": partial(_ours, executor=OnRay(workers=WORKERS)),
    "ours, Ray, killed": partial(_ours, executor=OnRay(workers=WORKERS), killed=True),
}
PEERS: dict[str, Method] = {"MONAI": _monai, "nnU-Net": _nnunet}
METHODS = OURS | PEERS
