"""Kidneys and tumours from few labels of KiTS19 or KiTS23: supervised, copy-paste as published and with RankSEG.

    python pipelines/kits_semisupervised.py DATA WORK_FOLDER [--challenge kits23] [--labelled 16] [--processes GPUS]

DATA holds ``case_<nnnnn>/imaging.nii.gz`` and ``segmentation.nii.gz``: the folder ``data`` of KiTS19, ``dataset`` of
KiTS23. Cases without a segmentation, which are KiTS19's test set, are left alone. Scores are the challenge's, in
WORK_FOLDER/<arm>/seed_<s>/scores. An arm is 17,000 iterations (configs/kits.yaml, configs/bcp_kits.yaml): a matter of
hours on one GPU.
"""

from ct_semisupervised import parser_of, run_recipe
from data_sets import KITS, kits_cases

if __name__ == "__main__":
    parser = parser_of(__doc__, labelled=16)
    parser.add_argument("--challenge", choices=KITS, default="kits19", help="since 2021 there are cysts as well")
    options = parser.parse_args()
    run_recipe(KITS[options.challenge], kits_cases(options.data), options)
