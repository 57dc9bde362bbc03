"""Kidneys and tumours of KiTS19 or KiTS23: train, tune the decoding, predict, score, compare with argmax.

    python pipelines/kits.py DATA WORK_FOLDER [--challenge kits23] [--workers 4] [--processes GPUS]

DATA holds ``case_<nnnnn>/imaging.nii.gz`` and ``segmentation.nii.gz``: the folder ``data`` of KiTS19, ``dataset`` of
KiTS23. Cases without a segmentation, which are KiTS19's test set, are left alone. Decoding is tuned for the regions
that the challenge scores, which are nested. Scores are the challenge's, in WORK_FOLDER/argmax/scores and
WORK_FOLDER/tuned/scores; the verdict is WORK_FOLDER/ab/ab.html. Training is 17,000 iterations (configs/kits.yaml): a
matter of hours on one GPU.
"""

from data_sets import KITS, kits_cases
from supervised import parser_of, run_recipe

if __name__ == "__main__":
    parser = parser_of(__doc__)
    parser.add_argument("--challenge", choices=KITS, default="kits19", help="since 2021 there are cysts as well")
    options = parser.parse_args()
    run_recipe(KITS[options.challenge], kits_cases(options.data), options)
