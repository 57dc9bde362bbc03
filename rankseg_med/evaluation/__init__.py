"""What decoding does on cases whose truth is known."""

from rankseg_med.evaluation.ab.run import ABReport, run_ab
from rankseg_med.evaluation.ab.verdict import Verdict, decide
from rankseg_med.evaluation.cases import Case, DecodableCase, LabelledCase, find_cases
from rankseg_med.evaluation.cleanup_search.search import MINIMUM_VOLUMES_ML, search_cleanup, write_cleanup
from rankseg_med.evaluation.cleanup_search.trials import CleanupSearch
from rankseg_med.evaluation.comparison.compare import RegionComparison, compare
from rankseg_med.evaluation.comparison.document import ComparisonReport, report_pair, report_ranking
from rankseg_med.evaluation.comparison.run_ranking import RegionRanking, RunPair, RunRanking, compare_runs
from rankseg_med.evaluation.comparison.scored_runs import name_runs
from rankseg_med.evaluation.feature_densities import FeatureDensities, write_feature_densities
from rankseg_med.evaluation.network_cases import Network, NetworkCase, find_network_cases, structures_of_config
from rankseg_med.evaluation.quality import Quality, aurc, quality_of, risk_coverage, soft_dice
from rankseg_med.evaluation.run_report.worst_cases import draw_worst_cases
from rankseg_med.evaluation.run_report.write import Report, write_report
from rankseg_med.evaluation.scoring.evaluate import Missing, evaluate
from rankseg_med.evaluation.scoring.files import ScoreTable
from rankseg_med.evaluation.scoring.job import UNSCORED
from rankseg_med.evaluation.scoring.plan import find_structures, plan_evaluation
from rankseg_med.evaluation.structures import structures_of
from rankseg_med.evaluation.tuning.document import tuning_document
from rankseg_med.evaluation.tuning.files import TuningFiles, write_tuning
from rankseg_med.evaluation.tuning.result import Tuning
from rankseg_med.evaluation.tuning.task import Task
from rankseg_med.evaluation.tuning.trials import at_threshold
from rankseg_med.evaluation.tuning.tune import tune

__all__ = [
    "MINIMUM_VOLUMES_ML",
    "UNSCORED",
    "ABReport",
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
    "Tuning",
    "TuningFiles",
    "Verdict",
    "at_threshold",
    "aurc",
    "compare",
    "compare_runs",
    "decide",
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
    "tuning_document",
    "write_cleanup",
    "write_feature_densities",
    "write_report",
    "write_tuning",
]
