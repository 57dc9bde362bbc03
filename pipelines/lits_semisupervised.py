"""Liver and tumours from few labels of LiTS: supervised, copy-paste as published, copy-paste with RankSEG.

    python pipelines/lits_semisupervised.py DATA WORK_FOLDER [--labelled 10] [--arms ...] [--processes GPUS]

DATA holds ``volume-<n>.nii`` and ``segmentation-<n>.nii`` of both training batches, in one folder or in folders below
it. The 70 test volumes, which have no labels, are left alone. Scores are LiTS's, in WORK_FOLDER/<arm>/seed_<s>/scores.
An arm is 17,000 iterations (configs/lits.yaml, configs/bcp_lits.yaml): a matter of hours on one GPU.
"""

from ct_semisupervised import parser_of, run_recipe
from data_sets import LITS, lits_cases

if __name__ == "__main__":
    options = parser_of(__doc__, labelled=10).parse_args()
    run_recipe(LITS, lits_cases(options.data), options)
