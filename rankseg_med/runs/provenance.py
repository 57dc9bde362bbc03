"""Who made a record, with what, and when."""

from __future__ import annotations

import os
import platform
from datetime import datetime

import monai
import numpy as np
import torch

from rankseg_med import __version__

VERSIONS = {
    "rankseg_med": __version__,
    "torch": torch.__version__,
    "monai": monai.__version__,
    "numpy": np.__version__,
    "python": platform.python_version(),
}
"""Of the package and of what it computes with, for records."""


def now() -> str:
    """The time, ISO 8601 with offset."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def host() -> str:
    """This machine and process."""
    return f"{platform.node()}:{os.getpid()}"
