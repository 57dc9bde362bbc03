"""What decoding does on cases whose truth is known."""

from rankseg_med.evaluation.ab import Trial, run_ab
from rankseg_med.evaluation.cases import Case, DecodableCase, find_cases
from rankseg_med.evaluation.network_cases import Network, NetworkCase, find_network_cases, structures_of_config
from rankseg_med.evaluation.quality import Quality, aurc, quality_of, risk_coverage, soft_dice
from rankseg_med.evaluation.structures import structures_of
from rankseg_med.evaluation.tuning import tune
from rankseg_med.evaluation.tuning_document import document_of
from rankseg_med.evaluation.tuning_files import TuningFiles, write_tuning
from rankseg_med.evaluation.tuning_result import Tuning
from rankseg_med.evaluation.tuning_task import LabelledCase, Task
from rankseg_med.evaluation.verdict import Verdict, decide

__all__ = [
    "Case",
    "DecodableCase",
    "LabelledCase",
    "Network",
    "NetworkCase",
    "Quality",
    "Task",
    "Trial",
    "Tuning",
    "TuningFiles",
    "Verdict",
    "aurc",
    "decide",
    "document_of",
    "find_cases",
    "find_network_cases",
    "quality_of",
    "risk_coverage",
    "run_ab",
    "soft_dice",
    "structures_of",
    "structures_of_config",
    "tune",
    "write_tuning",
]
