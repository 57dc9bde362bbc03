"""The official LiTS script's definitions once more, with sets of voxels and k-d trees: slow, nothing of the package.

Follows `evaluate.py`, `calc_metric.py` and `surface.py` of PatrickChrist/lits-challenge-scoring step by step.
"""

import math

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

LARGE = 9001
NO_SCORE = {"voe": 1, "rvd": LARGE, "assd_mm": LARGE, "mssd_mm": LARGE, "rmsd_mm": LARGE}


def voxels(mask):
    return set(map(tuple, np.argwhere(mask).tolist()))


def surface(points):
    """Voxels of which one of the 18 neighbours is missing."""
    steps = [step for step in np.ndindex(3, 3, 3) if 0 < sum(abs(offset - 1) for offset in step) < 3]
    return [
        (x, y, z) for x, y, z in points if any((x + i - 1, y + j - 1, z + k - 1) not in points for i, j, k in steps)
    ]


def segmentation_scores(prediction, reference, spacing_mm):
    """Of two sets of voxels that are not empty."""
    shared, either = len(prediction & reference), len(prediction | reference)
    edges = [np.array(surface(side)) * spacing_mm for side in (prediction, reference)]
    distances = np.concatenate([KDTree(edges[1]).query(edges[0])[0], KDTree(edges[0]).query(edges[1])[0]])
    return {
        "dice": 2 * shared / (len(prediction) + len(reference)),
        "voe": 1 - shared / either,
        "rvd": (len(reference) - len(prediction)) / len(prediction),
        "assd_mm": distances.mean(),
        "mssd_mm": distances.max(),
        "rmsd_mm": math.sqrt((distances**2).mean()),
    }


def detect(prediction, reference, min_iou):
    """Numbers of predicted, reference and detected lesions, and the pairs that the script goes on to score."""
    predictions, references = (
        {number: voxels(components == number) for number in range(1, components.max() + 1)}
        for components in (ndimage.label(mask)[0] for mask in (prediction, reference))
    )
    n_reference = len(references)
    merge_count = dict.fromkeys(references, 1)

    def shared(p, r):
        return len(predictions[p] & references[r])

    touching = [p for p in predictions if any(shared(p, r) for r in references)]
    for p in touching:
        # Python's max, like argmax, takes the first of equals.
        own = [r for r in references if shared(p, r) and p == max(touching, key=lambda other: shared(other, r))]
        merge_count.update(dict.fromkeys(own, len(own)))
        for r in own[1:]:
            references[own[0]] |= references.pop(r)
    partner = {p: max(references, key=lambda r: shared(p, r)) for p in touching}
    renumbered = {voxel: partner[p] for p in touching for voxel in predictions[p]}
    groups = {r: [p for p in touching if partner[p] == r] for r in partner.values()}
    n_detected = len(groups)
    for r, group in groups.items():
        intersection = sum(shared(p, r) for p in group)
        union = references[r] | {voxel for voxel, number in renumbered.items() if number == group[0]}
        if intersection / len(union) <= min_iou:
            renumbered = {voxel: number for voxel, number in renumbered.items() if number != r}
            n_detected -= merge_count[r]
    pairs = [
        ({voxel for voxel, number in renumbered.items() if number == r}, references[r])
        for r in sorted(set(renumbered.values()))
    ]
    return (len(predictions), n_reference, n_detected), pairs


def results(cases, spacing_mm):
    """What the script writes for a data set of pairs of prediction and reference, under the package's names."""
    dice, liver, lesions, burdens = {"liver": [], "lesion": []}, [], [], []
    sums = {"liver": [0, 0], "lesion": [0, 0]}
    detections = {0.0: [], 0.5: []}
    for prediction, reference in cases:
        has_liver = bool((prediction == 1).any())
        p, r = voxels(prediction >= 1) if has_liver else set(), voxels(reference >= 1)
        liver.append(segmentation_scores(p, r, spacing_mm) if has_liver else {"dice": 0, **NO_SCORE})
        dice["liver"].append(liver[-1]["dice"])
        p2, r2 = voxels(prediction == 2), voxels(reference == 2)
        dice["lesion"].append(2 * len(p2 & r2) / (len(p2) + len(r2)) if p2 or r2 else 1)
        for name, one, other in (("liver", p, r), ("lesion", p2, r2)):
            sums[name][0] += len(one & other)
            sums[name][1] += len(one) + len(other)
        for min_iou, counted in detections.items():
            counts, pairs = detect(prediction == 2, reference == 2, min_iou)
            counted.append(counts)
        if counts[2] > 0:
            lesions += [segmentation_scores(*pair, spacing_mm) for pair in pairs]
        burdens.append(len(r2) / len(r) - (len(p2) / len(p) if has_liver else LARGE))
    found = {}
    for name in ("liver", "lesion"):
        found[f"{name}_dice_per_case"] = np.mean(dice[name])
        found[f"{name}_dice_global"] = 2 * sums[name][0] / sums[name][1]
    for metric in NO_SCORE:
        found[f"liver_{metric}"] = np.mean([case[metric] for case in liver])
        found[f"lesion_{metric}"] = np.mean([lesion[metric] for lesion in lesions]) if lesions else NO_SCORE[metric]
    for min_iou, ending in ((0.5, ""), (0.0, "_greater_zero")):
        n_prediction, n_reference, n_detected = np.sum(detections[min_iou], axis=0)
        found[f"lesion_precision{ending}"] = n_detected / n_prediction if n_prediction else 0
        found[f"lesion_recall{ending}"] = n_detected / n_reference
    found["tumour_burden_rmse"] = math.sqrt(np.mean(np.square(burdens)))
    found["tumour_burden_max"] = max(burdens)
    return found
