"""How a workflow's studies are spread."""

from rankseg_med.executors.errors import ItemTimeout, TransferError, WorkerDied
from rankseg_med.executors.in_process import run_in_process
from rankseg_med.executors.in_processes import run_in_processes
from rankseg_med.executors.on_ray import run_on_ray
from rankseg_med.executors.outcome import Outcome
from rankseg_med.executors.overlapped import run_overlapped

__all__ = [
    "ItemTimeout",
    "Outcome",
    "TransferError",
    "WorkerDied",
    "run_in_process",
    "run_in_processes",
    "run_on_ray",
    "run_overlapped",
]
