"""How many items of work are spread: overlapped in this process, in processes of their own, on a Ray cluster."""

from rankseg_med.executors.errors import ItemTimeout, TransferError, WorkerDied
from rankseg_med.executors.executor import Executor, OnStage, StagedWork
from rankseg_med.executors.in_process import InProcess
from rankseg_med.executors.in_processes import InProcesses, run_in_processes
from rankseg_med.executors.on_ray import OnRay, run_on_ray
from rankseg_med.executors.outcome import Outcome
from rankseg_med.executors.overlapped import run_overlapped
from rankseg_med.executors.pool import map_items, open_pool

__all__ = [
    "Executor",
    "InProcess",
    "InProcesses",
    "ItemTimeout",
    "OnRay",
    "OnStage",
    "Outcome",
    "StagedWork",
    "TransferError",
    "WorkerDied",
    "map_items",
    "open_pool",
    "run_in_processes",
    "run_on_ray",
    "run_overlapped",
]
