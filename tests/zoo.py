"""Bundles laid out as three of the Model Zoo's are, with tiny networks and random weights; and MONAI's runs of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
import yaml
from monai.bundle import ConfigParser, ConfigWorkflow
from scipy import ndimage

from tests.voxels import voxels_of


def spleen(folder: Path) -> Path:
    """JSON; probabilities are inverted, then argmax; weights bare."""
    network = {"_target_": "UNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 2}
    network |= {"channels": [4, 8], "strides": [2], "num_res_units": 1, "norm": "batch"}
    steps = _steps("image", [1.5, 1.5, 2.0], [{**_scaled(-57, 164)}, {"_target_": "EnsureTyped", "keys": "image"}])
    inferer = {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "sw_batch_size": 4, "overlap": 0.5}
    config = {
        "imports": ["$import glob", "$import os"],
        "output_dtype": "$numpy.float32",
        **_shared(network, steps, inferer),
        "checkpointloader": {
            "_target_": "CheckpointLoader",
            "load_path": "$@bundle_root + '/models/model.pt'",
            "load_dict": {"model": "@network"},
        },
        "initialize": ["$monai.utils.set_determinism(seed=123)", "$@checkpointloader(@evaluator)"],
        "run": ["$@evaluator.run()"],
    }
    config["evaluator"]["amp"] = True
    return _written(folder, config, ["background", "spleen"], "inference.json")


def pancreas(folder: Path) -> Path:
    """YAML; searched architecture, of which a second file of weights says the code; weights under `model`."""
    network = {"_target_": "monai.networks.nets.DiNTS", "dints_space": "@dints_space", "in_channels": "@input_channels"}
    network |= {"num_classes": "@output_classes", "use_downsample": True, "node_a": "$@arch_ckpt['node_a']"}
    steps = _steps("image", [1.0, 1.0, 1.0], [{**_scaled(-87, 199)}, {"_target_": "EnsureTyped", "keys": "image"}])
    inferer = {"_target_": "SlidingWindowInferer", "roi_size": [32, 32, 32], "sw_batch_size": 4, "overlap": 0.625}
    shared = _shared(network, steps, inferer)
    shared["handlers"] = [
        {
            "_target_": "CheckpointLoader",
            "load_path": "$@bundle_root + '/models/model.pt'",
            "load_dict": {"model": "@network"},
        },
        *shared["handlers"],
    ]
    config = {
        "imports": ["$import glob", "$import os"],
        "input_channels": 1,
        "output_classes": 3,
        "arch_ckpt_path": "$@bundle_root + '/models/search_code.pt'",
        "arch_ckpt": "$torch.load(@arch_ckpt_path, map_location=torch.device('cpu'), weights_only=True)",
        "dints_space": {
            "_target_": "monai.networks.nets.TopologyInstance",
            "channel_mul": 0.25,
            "num_blocks": 2,
            "num_depths": 2,
            "use_downsample": True,
            "arch_code": ["$@arch_ckpt['arch_code_a'].numpy()", "$@arch_ckpt['arch_code_c'].numpy()"],
            "device": "@device",
        },
        **shared,
        "initialize": ["$setattr(torch.backends.cudnn, 'benchmark', True)"],
        "run": ["$@evaluator.run()"],
    }
    (folder / "models").mkdir(parents=True)
    code = {"node_a": torch.ones(3, 2), "arch_code_a": torch.ones(2, 4), "arch_code_c": torch.ones(2, 4).long()}
    torch.save(code, folder / "models" / "search_code.pt")
    return _written(folder, config, ["background", "pancreas", "tumour"], "inference.yaml", nested="model")


def whole_body(folder: Path, spacing_mm: float = 1.5, roi: int = 16) -> Path:
    """105 classes; values and the image's key by reference; argmax comes before `Invertd`."""
    network = {"_target_": "SegResNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 105, "init_filters": 8}
    network |= {"blocks_down": [1, 1], "blocks_up": [1], "dropout_prob": 0.2}
    steps = [
        {"_target_": "NormalizeIntensityd", "keys": "@image_key", "nonzero": True},
        {"_target_": "ScaleIntensityd", "keys": "@image_key", "minv": -1.0, "maxv": 1.0},
    ]
    inferer = {
        "_target_": "SlidingWindowInferer",
        "roi_size": [roi] * 3,
        "sw_batch_size": "@displayable_configs#sw_batch_size",
        "overlap": "@displayable_configs#sw_overlap",
        "padding_mode": "replicate",
        "mode": "gaussian",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    }
    shared = _shared(network, _steps("@image_key", "@pixdim", steps), inferer)
    activation, inverse, argmax, save = shared["postprocessing"]["transforms"]
    inverse |= {"nearest_interp": True, "orig_keys": "@image_key"}
    shared["postprocessing"]["transforms"] = [activation, argmax, inverse, save]
    config = {
        "displayable_configs": {"highres": True, "sw_overlap": 0.25, "sw_batch_size": 1},
        "imports": ["$import glob", "$import numpy", "$import os"],
        "image_key": "image",
        "pixdim": f"$[{spacing_mm}] * 3 if @displayable_configs#highres else [3.0, 3.0, 3.0]",
        "modelname": "$'model.pt' if @displayable_configs#highres else 'model_lowres.pt'",
        **shared,
        "checkpointloader": {
            "_target_": "CheckpointLoader",
            "load_path": "$@bundle_root + '/models/' + @modelname",
            "load_dict": {"model": "@network"},
        },
        "initialize": ["$@checkpointloader(@evaluator)"],
        "run": ["$@evaluator.run()"],
    }
    names = ["background", *(f"structure_{number}" for number in range(1, 105))]
    return _written(folder, config, names, "inference.json")


def edit(bundle: Path, **entries: Any) -> Path:
    """Change entries of a bundle's JSON config; None takes one out."""
    path = bundle / "configs" / "inference.json"
    config = json.loads(path.read_text()) | entries
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return bundle


def monai_labels(bundle: Path, images: Path, output: Path) -> dict[str, np.ndarray]:
    """Label maps that MONAI's own runner writes, by the image's name."""
    (config,) = (bundle / "configs").glob("inference.*")
    workflow = ConfigWorkflow(
        str(config),
        meta_file=str(bundle / "configs" / "metadata.json"),
        logging_file=False,
        workflow_type="infer",
        bundle_root=str(bundle),
        dataset_dir=str(images),
        output_dir=str(output),
        device="$torch.device('cpu')",
        dataloader={"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
    )
    workflow.initialize()
    workflow.run()
    workflow.finalize()
    paths = sorted(output.rglob("*_trans.nii.gz"))
    return {path.name.removesuffix("_trans.nii.gz"): labels_in(path) for path in paths}


def labels_in(path: Path) -> np.ndarray:
    """Voxels of a label map on disk."""
    return voxels_of(path).astype(np.uint8)


def write_images(folder: Path, shape: tuple[int, ...], spacing_mm: tuple[float, ...], names: str = "a") -> Path:
    """Smooth noise in Hounsfield units, stored from left to right backwards."""
    folder.mkdir()
    rng = np.random.default_rng(7)
    for name in names:
        values = ndimage.gaussian_filter(rng.normal(size=shape), 2) * 2000
        affine = np.diag([-spacing_mm[0], *spacing_mm[1:], 1.0])
        affine[:3, 3] = 20, -10, 5
        nib.save(nib.Nifti1Image(values.astype(np.int16), affine), folder / f"{name}.nii.gz")
    return folder


def _scaled(low: int, high: int) -> dict[str, Any]:
    bounds = {"a_min": low, "a_max": high, "b_min": 0, "b_max": 1, "clip": True}
    return {"_target_": "ScaleIntensityRanged", "keys": "image", **bounds}


def _steps(key: str, pixdim: object, further: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"_target_": "LoadImaged", "keys": key},
        {"_target_": "EnsureChannelFirstd", "keys": key},
        {"_target_": "Orientationd", "keys": key, "axcodes": "RAS"},
        {"_target_": "Spacingd", "keys": key, "pixdim": pixdim, "mode": "bilinear"},
        *further,
    ]


def _shared(network: dict[str, Any], steps: list[dict[str, Any]], inferer: dict[str, Any]) -> dict[str, Any]:
    """What all three have in common; the postprocessing is softmax, inverse, argmax, saving."""
    inverse = {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image"}
    return {
        "bundle_root": ".",
        "output_dir": "$@bundle_root + '/eval'",
        "dataset_dir": "/somewhere/else",
        "datalist": "$list(sorted(glob.glob(@dataset_dir + '/*.nii.gz')))",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": network,
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": steps},
        "dataset": {"_target_": "Dataset", "data": "$[{'image': i} for i in @datalist]", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 4},
        "inferer": inferer,
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                {**inverse, "nearest_interp": False, "to_tensor": True},
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
                {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir"},
            ],
        },
        "handlers": [{"_target_": "StatsHandler", "iteration_log": False}],
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "val_handlers": "@handlers",
        },
    }


def _written(folder: Path, config: dict[str, Any], names: list[str], file: str, nested: str | None = None) -> Path:
    for part in ("configs", "models"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    dump = json.dumps(config) if file.endswith(".json") else yaml.safe_dump(config)
    (folder / "configs" / file).write_text(dump)
    tensor = {"type": "image", "spatial_shape": [96, 96, 96], "dtype": "float32", "is_patch_data": True}
    image = {**tensor, "format": "hounsfield", "num_channels": 1, "channel_def": {"0": "image"}}
    pred = {**tensor, "format": "segmentation", "num_channels": len(names)}
    pred["channel_def"] = {str(channel): name for channel, name in enumerate(names)}
    metadata = {
        "name": folder.name,
        "version": "0.1.0",
        "monai_version": "1.4.0",
        "pytorch_version": "2.4.0",
        "numpy_version": "1.24.4",
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": pred}},
    }
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata))
    torch.manual_seed(0)
    network = ConfigParser({**config, "bundle_root": str(folder)}).get_parsed_content("network_def")
    weights = network.state_dict()
    torch.save(weights if nested is None else {nested: weights}, folder / "models" / "model.pt")
    return folder
