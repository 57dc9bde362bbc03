"""Trained models of nnU-Net v2, run here: its preprocessing and windows, our decoding. Needs the extra ``nnunet``."""

from rankseg_med.nnunet.errors import NnunetError
from rankseg_med.nnunet.export import Export, Exporter, axis_of
from rankseg_med.nnunet.folder import Fold, ModelFolder
from rankseg_med.nnunet.library import Library
from rankseg_med.nnunet.memory import NnunetMemory
from rankseg_med.nnunet.merged import MergedModels
from rankseg_med.nnunet.model import FoldEnsemble, NnunetModel, read_plans
from rankseg_med.nnunet.plans import Plans
from rankseg_med.nnunet.preprocessing import Placement, Preprocessed

__all__ = [
    "Export",
    "Exporter",
    "Fold",
    "FoldEnsemble",
    "Library",
    "MergedModels",
    "ModelFolder",
    "NnunetError",
    "NnunetMemory",
    "NnunetModel",
    "Placement",
    "Plans",
    "Preprocessed",
    "axis_of",
    "read_plans",
]
