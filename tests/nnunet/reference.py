"""What nnU-Net itself says, through its own predictor, preprocessing, export and writer."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch

from tests.voxels import voxels_of


@dataclass(frozen=True)
class Said:
    """Label map ``(X, Y, Z)`` of its file, and the probabilities ``(channels, X, Y, Z)`` that it stores."""

    labels: np.ndarray
    probabilities: np.ndarray


def nnunet_says(
    model: Path, images: Sequence[Path], output: Path, *, folds=(0,), mirroring=True, step_size=0.5
) -> Said:
    """Predict one study, as ``nnUNetv2_predict`` does without and with ``--save_probabilities``."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(json.loads((model / "plans.json").read_text()))
    dataset = json.loads((model / "dataset.json").read_text())
    configuration = plans.get_configuration("3d_fullres")
    files = [model / f"fold_{fold}" / "checkpoint_final.pth" for fold in folds]
    checkpoints = [torch.load(file, map_location="cpu", weights_only=False) for file in files]
    network = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        len(dataset["channel_names"]),
        plans.get_label_manager(dataset).num_segmentation_heads,
        deep_supervision=False,
    )
    predictor = nnUNetPredictor(
        tile_step_size=step_size, use_mirroring=mirroring, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.manual_initialization(
        network,
        plans,
        configuration,
        [checkpoint["network_weights"] for checkpoint in checkpoints],
        dataset,
        "nnUNetTrainer",
        checkpoints[0]["inference_allowed_mirroring_axes"],
    )
    for name, stores in (("labels", False), ("probabilities", True)):
        (output / name).mkdir(parents=True)
        predictor.predict_from_files_sequential(
            [[str(image) for image in images]], [str(output / name / "case")], save_probabilities=stores
        )
    labels = voxels_of(output / "labels" / "case.nii.gz")
    stored = np.load(output / "probabilities" / "case.npz")["probabilities"].transpose(0, 3, 2, 1)
    if plans.image_reader_writer_class.__name__.endswith("WithReorient"):
        # Stored arrays lie as the turned image does, label maps as the file.
        ours = nib.io_orientation(nib.load(images[0]).affine)
        back = nib.orientations.ornt_transform([[0, 1], [1, 1], [2, 1]], ours)
        stored = np.stack([nib.orientations.apply_orientation(channel, back) for channel in stored])
    return Said(labels, stored)
