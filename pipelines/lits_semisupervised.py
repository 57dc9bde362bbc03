"""Liver and tumours from few labels of LiTS: supervised, copy-paste as published, copy-paste with RankSEG.

    python pipelines/lits_semisupervised.py DATA WORK_FOLDER [--labelled 10] [--arms ...] [--processes GPUS]

DATA holds ``volume-<n>.nii`` and ``segmentation-<n>.nii`` of both training batches, in one folder or in folders below
it. The 70 test volumes, which have no labels, are left alone. Scores are LiTS's, in WORK_FOLDER/<arm>/seed_<s>/scores.
An arm is 17,000 iterations (configs/lits.yaml, configs/bcp_lits.yaml): a matter of hours on one GPU.
"""

import re
from pathlib import Path

from ct_semisupervised import Case, Recipe, parser_of, run_recipe

RECIPE = Recipe("LiTS", ("liver", "tumour"), config="lits", preset="lits")


def find_cases(data: Path) -> list[Case]:
    """Volumes with their segmentations, by number.

    Raises:
        SystemExit: A volume has no segmentation, or occurs twice.
    """
    cases: dict[int, Case] = {}
    for image in data.rglob("volume-*.nii*"):
        found = re.fullmatch(r"volume-(\d+)(\.nii|\.nii\.gz)", image.name)
        if found is None:
            continue
        number, suffix = int(found[1]), found[2]
        label = image.with_name(f"segmentation-{number}{suffix}")
        if number in cases:
            raise SystemExit(f"{image}: volume {number} lies in {cases[number].image} too; remove one")
        if not label.is_file():
            raise SystemExit(f"{image}: has no {label.name} beside it; is the download complete?")
        cases[number] = Case(f"volume-{number}", image, label)
    return [cases[number] for number in sorted(cases)]


if __name__ == "__main__":
    options = parser_of(__doc__, labelled=10).parse_args()
    run_recipe(RECIPE, find_cases(options.data), options)
