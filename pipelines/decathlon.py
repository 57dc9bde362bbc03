"""A task of the Medical Segmentation Decathlon: train, tune the decoding, predict, score, compare with argmax.

    python pipelines/decathlon.py DATA WORK_FOLDER [--config my_task.yaml] [--workers 4] [--processes GPUS]

DATA is the folder of a task as it is unpacked, such as ``Task04_Hippocampus``: ``dataset.json``, ``imagesTr``,
``labelsTr``. Task03 (liver) and Task04 (hippocampus) have a shipped config; others need one. Images without labels are
left alone. Scores are nnU-Net's, in WORK_FOLDER/argmax/scores and WORK_FOLDER/tuned/scores; the verdict is
WORK_FOLDER/ab/ab.html.
"""

from data_sets import decathlon_task
from supervised import parser_of, run_recipe

if __name__ == "__main__":
    options = parser_of(__doc__).parse_args()
    run_recipe(*decathlon_task(options.data, options.config), options)
