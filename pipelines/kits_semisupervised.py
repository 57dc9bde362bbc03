"""Kidneys and tumours from few labels of KiTS19 or KiTS23: supervised, copy-paste as published and with RankSEG.

    python pipelines/kits_semisupervised.py DATA WORK_FOLDER [--challenge kits23] [--labelled 16] [--processes GPUS]

DATA holds ``case_<nnnnn>/imaging.nii.gz`` and ``segmentation.nii.gz``: the folder ``data`` of KiTS19, ``dataset`` of
KiTS23. Cases without a segmentation, which are KiTS19's test set, are left alone. Scores are the challenge's, in
WORK_FOLDER/<arm>/seed_<s>/scores. An arm is 17,000 iterations (configs/kits.yaml, configs/bcp_kits.yaml): a matter of
hours on one GPU.
"""

from pathlib import Path

from ct_semisupervised import Case, Recipe, parser_of, run_recipe

RECIPES = {
    "kits19": Recipe("KiTS19", ("kidney", "tumour"), config="kits", preset="kits19"),
    "kits23": Recipe("KiTS23", ("kidney", "tumour", "cyst"), config="kits", preset="kits23"),
}


def find_cases(data: Path) -> list[Case]:
    """Cases that have a segmentation, by number.

    Raises:
        SystemExit: A case has a segmentation and no image.
    """
    cases = []
    for label in sorted(data.glob("case_*/segmentation.nii.gz")):
        image = label.with_name("imaging.nii.gz")
        if not image.is_file():
            raise SystemExit(f"{label.parent}: has no imaging.nii.gz; run the challenge's download script")
        cases.append(Case(label.parent.name, image, label))
    return cases


if __name__ == "__main__":
    parser = parser_of(__doc__, labelled=16)
    parser.add_argument("--challenge", choices=RECIPES, default="kits19", help="since 2021 there are cysts as well")
    options = parser.parse_args()
    run_recipe(RECIPES[options.challenge], find_cases(options.data), options)
