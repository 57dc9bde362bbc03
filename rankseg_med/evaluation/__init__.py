"""What decoding does on cases whose truth is known."""

from rankseg_med.evaluation.ab import Trial, run_ab
from rankseg_med.evaluation.cases import Case, DecodableCase, find_cases
from rankseg_med.evaluation.cleanup_search import MINIMUM_VOLUMES_ML, search_cleanup, write_cleanup
from rankseg_med.evaluation.cleanup_trials import CleanupSearch
from rankseg_med.evaluation.comparison import RegionComparison, compare
from rankseg_med.evaluation.comparison_document import ComparisonReport, report_pair, report_ranking
from rankseg_med.evaluation.evaluation import Missing, evaluate
from rankseg_med.evaluation.feature_densities import FeatureDensities, write_feature_densities
from rankseg_med.evaluation.files import ScoreTable
from rankseg_med.evaluation.network_cases import Network, NetworkCase, find_network_cases, structures_of_config
from rankseg_med.evaluation.plan import find_structures, plan_evaluation
from rankseg_med.evaluation.quality import Quality, aurc, quality_of, risk_coverage, soft_dice
from rankseg_med.evaluation.report import Report, write_report
from rankseg_med.evaluation.run_ranking import RegionRanking, RunPair, RunRanking, compare_runs
from rankseg_med.evaluation.scored_runs import name_runs
from rankseg_med.evaluation.structures import structures_of
from rankseg_med.evaluation.tuning import tune
from rankseg_med.evaluation.tuning_document import document_of
from rankseg_med.evaluation.tuning_files import TuningFiles, write_tuning
from rankseg_med.evaluation.tuning_result import Tuning
from rankseg_med.evaluation.tuning_task import LabelledCase, Task
from rankseg_med.evaluation.tuning_trials import at_threshold
from rankseg_med.evaluation.verdict import Verdict, decide
from rankseg_med.evaluation.worst_cases import draw_worst_cases

__all__ = [
    "MINIMUM_VOLUMES_ML",
    "Case",
    "CleanupSearch",
    "ComparisonReport",
    "DecodableCase",
    "FeatureDensities",
    "LabelledCase",
    "Missing",
    "Network",
    "NetworkCase",
    "Quality",
    "RegionComparison",
    "RegionRanking",
    "Report",
    "RunPair",
    "RunRanking",
    "ScoreTable",
    "Task",
    "Trial",
    "Tuning",
    "TuningFiles",
    "Verdict",
    "at_threshold",
    "aurc",
    "compare",
    "compare_runs",
    "decide",
    "document_of",
    "draw_worst_cases",
    "evaluate",
    "find_cases",
    "find_network_cases",
    "find_structures",
    "name_runs",
    "plan_evaluation",
    "quality_of",
    "report_pair",
    "report_ranking",
    "risk_coverage",
    "run_ab",
    "search_cleanup",
    "soft_dice",
    "structures_of",
    "structures_of_config",
    "tune",
    "write_cleanup",
    "write_feature_densities",
    "write_report",
    "write_tuning",
]
