"""Small noisy volumes, half of which hold a bright blob, and configs that learn which in no time."""

from pathlib import Path

import nibabel as nib
import numpy as np
import torch
import yaml

SIZE = 12


class Linear(torch.nn.Module):
    """Logits 0 and the sum of weights times voxels."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1, SIZE, SIZE, SIZE))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        score = (self.weight * x).flatten(1).sum(1)
        return torch.stack([torch.zeros_like(score), score], 1)


LINEAR = {"_target_": f"{__name__}.Linear"}
SMALL = {
    "_target_": "Classifier",
    **{"in_shape": [1, SIZE, SIZE, SIZE], "classes": 2, "channels": [4, 8], "strides": [2, 2], "num_res_units": 0},
}


def write_blobs(folder: Path, count: int) -> dict[str, np.ndarray]:
    """Images ``images/case_<n>.nii.gz`` and ``classes.csv``; case id to mask, empty of every second one."""
    rng = np.random.default_rng(0)
    masks, rows = {}, ["case_id,class"]
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        case_id, mask = f"case_{number}", np.zeros((SIZE, SIZE, SIZE), bool)
        if number % 2 == 0:
            centre = rng.uniform(3, SIZE - 4, 3)
            mask = np.linalg.norm(np.indices(mask.shape).T - centre, axis=-1).T < 2.5
        image = rng.normal(scale=0.3, size=mask.shape) + 2 * mask
        # The first axis runs to the left, so that orientation matters.
        saved = nib.Nifti1Image(image.astype(np.float32), np.diag([-1, 1, 1, 1]))
        nib.save(saved, folder / "images" / f"{case_id}.nii.gz")
        rows.append(f"{case_id},{'nodule' if mask.any() else 'background'}")
        masks[case_id] = mask
    (folder / "classes.csv").write_text("\n".join(rows) + "\n")
    return masks


def write_config(path: Path, *over: str, **entries: object) -> Path:
    """An overlay of the lung nodules' config and others, for volumes of blobs."""
    tiny = {
        "extends": ["lung_nodules", *over],
        **{
            "spacing_mm": [1.0, 1.0, 1.0],
            "roi_size": [SIZE] * 3,
            "intensity": {"_target_": "Identityd", "keys": "image"},
        },
        **{"epochs": 2, "iterations_per_epoch": 2, "batch_size": 2, "num_workers": 0},
        "network_def::channels": [2, 4],
        "network_def::strides": [2],
        **entries,
    }
    path.write_text(yaml.safe_dump(tiny, sort_keys=False))
    return path
