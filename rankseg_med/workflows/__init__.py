"""One job over many studies."""

from rankseg_med.workflows.decode import DecodeJob, Decoding
from rankseg_med.workflows.label_map_job import LabelMapJob
from rankseg_med.workflows.label_maps import LabelMaps, cleaned
from rankseg_med.workflows.manifest import build_manifest, deal_folds
from rankseg_med.workflows.manifest_check import check_manifest
from rankseg_med.workflows.nnunet import NnunetJob
from rankseg_med.workflows.predict import Prediction, PredictJob
from rankseg_med.workflows.pseudo_label import Exports, PseudoLabelJob
from rankseg_med.workflows.pseudo_label_list import (
    PseudoLabelList,
    data_list_path,
    listed_entry,
    write_data_list,
)
from rankseg_med.workflows.runner import LabelMapInferer, WriteLabelMapd, dataset_items, run_engine
from rankseg_med.workflows.stored_probabilities import StoredProbabilities

__all__ = [
    "DecodeJob",
    "Decoding",
    "Exports",
    "LabelMapInferer",
    "LabelMapJob",
    "LabelMaps",
    "NnunetJob",
    "PredictJob",
    "Prediction",
    "PseudoLabelJob",
    "PseudoLabelList",
    "StoredProbabilities",
    "WriteLabelMapd",
    "build_manifest",
    "check_manifest",
    "cleaned",
    "data_list_path",
    "dataset_items",
    "deal_folds",
    "listed_entry",
    "run_engine",
    "write_data_list",
]
