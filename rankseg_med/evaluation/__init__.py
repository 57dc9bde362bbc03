"""What decoding does on cases whose truth is known."""

from rankseg_med.evaluation.cases import Case, find_cases
from rankseg_med.evaluation.structures import structures_of

__all__ = ["Case", "find_cases", "structures_of"]
