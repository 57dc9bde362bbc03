"""The job mechanism: a job, its run, what is recorded of it, and how it is resumed."""

from rankseg_med.runs.claims import claimed
from rankseg_med.runs.job import CaseT, Job, Written
from rankseg_med.runs.preview import CasePreview, preview
from rankseg_med.runs.provenance import VERSIONS, host, now
from rankseg_med.runs.resume import state_of
from rankseg_med.runs.run import CaseOutcome, RunOptions, run_job
from rankseg_med.runs.shard import Shard
from rankseg_med.runs.status import FolderStatus, folder_status

__all__ = [
    "VERSIONS",
    "CaseOutcome",
    "CasePreview",
    "CaseT",
    "FolderStatus",
    "Job",
    "RunOptions",
    "Shard",
    "Written",
    "claimed",
    "folder_status",
    "host",
    "now",
    "preview",
    "run_job",
    "state_of",
]
