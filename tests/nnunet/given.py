"""Model folders as nnU-Net's training leaves them, with tiny random networks, and images for them."""

import copy
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from scipy.ndimage import gaussian_filter

BY_SKIMAGE = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
BY_TORCH = {"is_seg": False, "force_separate_z": None, "memefficient_seg_resampling": False}
THREE_CLASSES = {"background": 0, "organ": 1, "tumour": 2}


def plans_of(
    *,
    spacing=(2.0, 1.5, 1.5),
    patch=(16, 24, 24),
    transpose=(0, 1, 2),
    reader="SimpleITKIO",
    by_torch=False,
    images=1,
) -> dict:
    """Content of ``plans.json``, for a U-Net of two stages."""
    dims = len(spacing)
    function = "resample_torch_fornnunet" if by_torch else "resample_data_or_seg_to_shape"
    cubic = {**BY_SKIMAGE, "order": 3}
    plans = {
        "dataset_name": "Dataset001_Tiny",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [2.0, 1.5, 1.5],
        "original_median_shape_after_transp": [20, 30, 30],
        "image_reader_writer": reader,
        "transpose_forward": list(transpose),
        "transpose_backward": np.argsort(transpose).tolist(),
        "configurations": {
            "base": {
                "data_identifier": "nnUNetPlans_base",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": list(patch),
                "median_image_size_in_voxels": [20.0, 30.0, 30.0][-dims:],
                "spacing": list(spacing),
                "normalization_schemes": ["ZScoreNormalization"] * images,
                "use_mask_for_norm": [False] * images,
                "resampling_fn_data": function,
                "resampling_fn_seg": function,
                "resampling_fn_data_kwargs": BY_TORCH if by_torch else cubic,
                "resampling_fn_seg_kwargs": {**BY_TORCH, "is_seg": True}
                if by_torch
                else {**BY_SKIMAGE, "is_seg": True},
                "resampling_fn_probabilities": function,
                "resampling_fn_probabilities_kwargs": BY_TORCH if by_torch else BY_SKIMAGE,
                "architecture": {
                    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                    "arch_kwargs": {
                        "n_stages": 2,
                        "features_per_stage": [4, 8],
                        "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
                        "kernel_sizes": [[3] * dims] * 2,
                        "strides": [[1] * dims, [2] * dims],
                        "n_conv_per_stage": [1, 1],
                        "n_conv_per_stage_decoder": [1],
                        "conv_bias": True,
                        "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
                        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                        "dropout_op": None,
                        "dropout_op_kwargs": None,
                        "nonlin": "torch.nn.LeakyReLU",
                        "nonlin_kwargs": {"inplace": True},
                    },
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
                "batch_dice": False,
            },
            "3d_fullres": {"inherits_from": "base"},
        },
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            str(image): {"mean": 40.0, "std": 20.0, "percentile_00_5": 0.0, "percentile_99_5": 100.0}
            for image in range(images)
        },
    }
    return copy.deepcopy(plans)


def dataset_of(labels=THREE_CLASSES, *, images=1, order=None) -> dict:
    """Content of ``dataset.json``."""
    names = {str(image): f"MR{image}" for image in range(images)}
    dataset = {"channel_names": names, "labels": labels, "numTraining": 4, "file_ending": ".nii.gz"}
    return dataset if order is None else {**dataset, "regions_class_order": order}


def write_json(folder: Path, plans: dict, dataset: dict) -> Path:
    """The files that every fold shares."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    return folder


def write_states(path: Path, weights: dict, **other) -> None:
    """A checkpoint with all that nnU-Net's trainer saves."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "network_weights": weights,
        "optimizer_state": {"state": {}, "param_groups": [{"lr": 0.01, "params": [0]}]},
        "grad_scaler_state": None,
        "logging": {"mean_fg_dice": [np.float64(0.5), np.float32(0.6)], "epoch_start_timestamps": [1.7e9]},
        "_best_ema": np.float64(0.55),
        "current_epoch": 1000,
        "init_args": {"plans": {}, "configuration": "3d_fullres", "fold": 0, "device": torch.device("cpu")},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": None,
    }
    torch.save({**content, **other}, path)


def write_model(folder: Path, plans: dict, dataset: dict, *, folds=(0,), gain=3.0, seed=0, **checkpoint) -> Path:
    """A model folder; the network's last layer is scaled so that classes are sure of themselves in places."""
    from rankseg_med.nnunet import Library, Plans

    write_json(folder, plans, dataset)
    for number, fold in enumerate(folds):
        torch.manual_seed(seed + number)
        weights = Library(Plans.read(folder, "3d_fullres")).network().state_dict()
        weights = {name: gain * w if "seg_layers" in name else w for name, w in weights.items()}
        write_states(folder / f"fold_{fold}" / "checkpoint_final.pth", weights, **checkpoint)
    return folder


def write_image(path: Path, shape=(40, 36, 24), spacing_mm=(1.2, 1.0, 2.5), *, axcodes="LPS", seed=0, border=0) -> Path:
    """Smooth noise as int16 NIfTI, with so many slices of zeros all around."""
    rng = np.random.default_rng(seed)
    voxels = gaussian_filter(rng.standard_normal(shape), 1.5)
    voxels = np.rint(100 * voxels / voxels.std()).astype(np.int16) + 1000
    inner = tuple(slice(border, size - border) for size in shape)
    framed = np.zeros(shape, np.int16)
    framed[inner] = voxels[inner]
    turned = nib.orientations.axcodes2ornt(axcodes)
    affine = np.zeros((4, 4))
    for axis, (place, direction) in enumerate(turned):
        affine[int(place), axis] = direction * spacing_mm[axis]
    affine[:, 3] = 10, -20, 30, 1
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(framed, affine), path)
    return path
