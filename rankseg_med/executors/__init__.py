"""How a workflow's studies are spread."""

from rankseg_med.executors.in_process import Outcome, run_in_process

__all__ = ["Outcome", "run_in_process"]
