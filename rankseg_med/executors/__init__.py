"""How a workflow's studies are spread."""

from rankseg_med.executors.in_process import run_in_process
from rankseg_med.executors.outcome import Outcome
from rankseg_med.executors.overlapped import run_overlapped

__all__ = ["Outcome", "run_in_process", "run_overlapped"]
