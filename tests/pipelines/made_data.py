"""Images and finished runs of made experiments."""

import csv

import nibabel as nib
import numpy as np


def make_images(folder, case_ids):
    """Boxes of both labels in noise."""
    rng = np.random.default_rng(0)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for case_id in case_ids:
        labels = np.zeros((24, 24, 24), np.uint8)
        labels[6:14, 6:18, 8:16], labels[14:18, 6:18, 8:16] = 1, 2
        image = (labels + rng.normal(size=labels.shape)).astype(np.float32)
        for part, array in (("images", image), ("labels", labels)):
            nib.save(nib.Nifti1Image(array, np.eye(4)), folder / part / f"{case_id}.nii.gz")


def write_run(work, arm, seed, dice_of):
    """As a finished run has it: two nodules of two patients, the smaller one missed where its Dice is 0."""
    folder = work / arm / str(seed) / "ab"
    for decoder in ("argmax", "tuned"):
        (folder / "scores" / decoder).mkdir(parents=True)
        with (folder / "scores" / decoder / "scores.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["case_id", "name", "dice", "hd95_mm", "assd_mm", "reference_volume_ml"])
            for (case_id, dice), volume in zip(dice_of.items(), (1.0, 5.0), strict=True):
                distances = (30.0, 10.0) if dice == 0 else (2.0, 0.5)
                writer.writerow([case_id, "nodule", dice, *distances, volume])
    (folder / "ab.json").write_text("{}")
