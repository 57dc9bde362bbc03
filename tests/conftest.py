"""Fixtures that every room's tests share."""

import os
from pathlib import Path

import pytest
import torch

# Two test processes on two cores: more threads would only fight.
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images and labels; tests that ask for it skip where it is absent."""
    folder = Path(os.environ.get("RANKSEG_MED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set RANKSEG_MED_DATA to its place")
    return folder
