"""Liver and tumours of LiTS: train, tune the decoding, predict, score as the challenge does, compare with argmax.

    python pipelines/lits.py DATA WORK_FOLDER [--workers 4] [--processes GPUS]

DATA holds ``volume-<n>.nii`` and ``segmentation-<n>.nii`` of both training batches, in one folder or in folders below
it. The 70 test volumes, which have no labels, are left alone. Scores are LiTS's, in WORK_FOLDER/argmax/scores and
WORK_FOLDER/tuned/scores; the verdict is WORK_FOLDER/ab/ab.html. Training is 17,000 iterations (configs/lits.yaml): a
matter of hours on one GPU.
"""

from data_sets import LITS, lits_cases
from supervised import parser_of, run_recipe

if __name__ == "__main__":
    options = parser_of(__doc__).parse_args()
    run_recipe(LITS, lits_cases(options.data), options)
