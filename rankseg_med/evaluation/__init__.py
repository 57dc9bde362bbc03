"""What decoding does on cases whose truth is known."""

from rankseg_med.evaluation.ab import Trial, run_ab
from rankseg_med.evaluation.cases import Case, find_cases
from rankseg_med.evaluation.structures import structures_of
from rankseg_med.evaluation.verdict import Verdict, decide

__all__ = ["Case", "Trial", "Verdict", "decide", "find_cases", "run_ab", "structures_of"]
