"""Fixtures that every room's tests share."""

import codecs
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import jaxtyping
import pytest
import torch

from tests.shape_checks import enforce_signatures

enforce_signatures()  # before anything of the package is imported

# Two test processes on two cores: more threads would only fight.
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)

_NOBODY = 65534
REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images and labels; tests that ask for it skip where it is absent."""
    folder = Path(os.environ.get("RANKSEG_MED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set RANKSEG_MED_DATA to its place")
    return folder


@pytest.fixture
def wrong_types() -> Iterator[None]:
    """For tests of what users are told who pass something else than the signature says."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that other users may look into, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def as_another_user() -> Callable[[], AbstractContextManager[None]]:
    """Give up root's right to read everything for a while; who is not root has no such right."""

    @contextmanager
    def without_rights() -> Iterator[None]:
        codecs.lookup("utf-8-sig")  # loaded when first needed, from where root's Python may lie, out of reach
        user = os.geteuid()
        if user == 0:
            os.seteuid(_NOBODY)
        try:
            yield
        finally:
            os.seteuid(user)

    return without_rights


@pytest.fixture
def killed_while_writing() -> Callable[[Path], Path]:
    """A process that was killed while it wrote a file; what it left."""
    program = (
        "import os, sys; from rankseg_med.studies import atomic_write\n"
        "with atomic_write(sys.argv[1]) as temporary:\n    temporary.write_text('half'); os.kill(os.getpid(), 9)"
    )

    def write(path: Path) -> Path:
        before = set(path.parent.glob("*")) if path.parent.is_dir() else set()
        subprocess.run([sys.executable, "-c", program, str(path)], check=False)
        (leftover,) = set(path.parent.glob("*")) - before
        return leftover

    return write
