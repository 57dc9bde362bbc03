"""Several runs in one folder: those of the same settings share the work, another one is refused; so with trainings."""

from __future__ import annotations

import os
import platform
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, ValidationError

from rankseg_med.runs.provenance import now
from rankseg_med.studies import StudyError, birth_of, is_running, naming_the_file

_FOLDER = ".claims"
_RUN, _CASE = ".run", ".case"
_HEARTBEAT_S = 10.0
# Network file systems show changes by up to a minute late.
_DEAD_AFTER_S = 300.0
_TRIES = 5
_BACK_OFF_S = (0.05, 0.3)


class FolderHeldError(StudyError):
    """Another run holds the folder; the message says which, and since when."""


class Holder(BaseModel):
    """A run that holds a folder.

    Attributes:
        run: Names the run.
        job: Such as ``"predict"``.
        digest: Hash of all that its results depend on beside the input.
        host: Its machine.
        process: Its process there.
        born: When the process was started, see `birth_of`.
        started: When, ISO 8601 with offset.
    """

    model_config = ConfigDict(frozen=True)

    run: str
    job: str
    digest: str
    host: str
    process: int
    born: str | None = None
    started: str


class Claim:
    """A run's hold on a folder, and on cases in it.

    Args:
        claims: Folder of all runs' claims.
        holder: The run.
    """

    def __init__(self, claims: Path, holder: Holder) -> None:
        self._claims = claims
        self._holder = holder
        self._own = claims / f"{holder.run}{_RUN}"
        self._ended = Event()
        self._heart = Thread(target=self._beat, daemon=True)

    def take(self, case_id: str) -> bool:
        """Claim a case; False while another run that lives has it. One that a dead run had is taken over."""
        path = self._of_case(case_id)
        if self._created(path):
            return True
        if self._is_held(path):
            return False
        # Of several runs that find it abandoned, one moves it away.
        abandoned = self._claims / f"{uuid4().hex}.abandoned"
        with suppress(FileNotFoundError):
            path.rename(abandoned)
        abandoned.unlink(missing_ok=True)
        return self._created(path)

    def is_held(self, case_id: str) -> bool:
        """Whether a run that lives has a case."""
        return self._is_held(self._of_case(case_id))

    def give_back(self, case_id: str) -> None:
        """The case is done with, or not to be done; at the latest it is free when the run leaves."""
        with suppress(OSError):
            self._of_case(case_id).unlink()

    def check(self) -> None:
        """Make sure that the folder is still this run's.

        Raises:
            FolderHeldError: The run was taken for dead.
        """
        if not self._own.exists():
            raise FolderHeldError(
                f"{self._claims.parent}: this run did not show itself for minutes, perhaps because the machine slept, "
                "and lost its claim on the folder; run it again"
            )

    def enter(self) -> None:
        """Claim the folder.

        Raises:
            FolderHeldError: See `claimed`.
            OSError: The claim cannot be written.
        """
        tries = 0
        while rival := self._rival():
            # Two runs that start at the same moment both step back, and one of them is the first to try again.
            self._own.unlink(missing_ok=True)
            time.sleep(random.uniform(*_BACK_OFF_S))
            tries += 1
            if tries == _TRIES:
                raise self._refusal(rival)
        self._heart.start()

    def _rival(self) -> Holder | None:
        """Show that this run is here, then look who else is: of any two runs, at least one sees the other."""
        self._write()
        return next((other for other in self._living() if not self._may_share(other)), None)

    def _refusal(self, rival: Holder) -> FolderHeldError:
        return FolderHeldError(
            f"{self._claims.parent}: {rival.job} (process {rival.process} on {rival.host}, since {rival.started}) "
            "works in this folder, which only runs of the same job and settings may share; wait until it has ended, or "
            "write to another folder"
        )

    def leave(self) -> None:
        """Give back the folder and every case."""
        self._ended.set()
        if self._heart.is_alive():
            self._heart.join()
        # Ctrl-C may come while the claim is being written.
        for file in (self._own, self._own.with_suffix(".new")):
            file.unlink(missing_ok=True)
        self._sweep()
        with suppress(OSError):
            self._claims.rmdir()  # unless other runs are in it

    def _write(self) -> None:
        whole = self._own.with_suffix(".new")
        while True:
            self._claims.mkdir(exist_ok=True)
            # Where the last of other runs has left, and taken the folder away, try again.
            with suppress(FileNotFoundError), naming_the_file(self._own):
                whole.write_text(self._holder.model_dump_json(), encoding="utf-8")
                whole.rename(self._own)
                return

    def _may_share(self, other: Holder) -> bool:
        return (other.job, other.digest) == (self._holder.job, self._holder.digest)

    def _living(self) -> Iterator[Holder]:
        for path in self._claims.glob(f"*{_RUN}"):
            holder = self._holder_of(path)
            if holder is not None and holder.run != self._holder.run:
                yield holder

    def _holder_of(self, path: Path) -> Holder | None:
        """Who made a run's claim; None if it has died."""
        try:
            age_s = self._now() - path.stat().st_mtime
            holder = Holder.model_validate_json(path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        is_gone = holder.host == platform.node() and not is_running(holder.process, holder.born)
        return None if is_gone or age_s > _DEAD_AFTER_S else holder

    def _now(self) -> float:
        """By the clock of the file system, which other machines' claims go by too."""
        with suppress(FileNotFoundError):
            os.utime(self._own)
            return self._own.stat().st_mtime
        return time.time()

    def _of_case(self, case_id: str) -> Path:
        return self._claims / f"{case_id}{_CASE}"

    def _created(self, path: Path) -> bool:
        try:
            with naming_the_file(path), path.open("x", encoding="utf-8") as file:
                file.write(self._holder.run)
        except FileExistsError:
            return False
        return True

    def _is_held(self, path: Path) -> bool:
        try:
            run = path.read_text(encoding="utf-8")
            if not run:  # it was made a moment ago, or whoever made it was killed in that moment
                return self._now() - path.stat().st_mtime < _HEARTBEAT_S
        except FileNotFoundError:
            return False
        return self._holder_of(self._claims / f"{run}{_RUN}") is not None

    def _sweep(self) -> None:
        """Remove what dead runs left."""
        for path in self._claims.glob("*"):
            with suppress(OSError):
                if path.suffix == _RUN:
                    is_left = self._holder_of(path) is None
                elif path.suffix == _CASE:
                    is_left = not self._is_held(path)
                else:
                    is_left = self._now() - path.stat().st_mtime > _HEARTBEAT_S
                if is_left:
                    path.unlink()

    def _beat(self) -> None:
        """Show that the run lives."""
        while not self._ended.wait(_HEARTBEAT_S):
            try:
                os.utime(self._own)
            except FileNotFoundError:
                return
            except OSError:
                continue  # a file system that is away for a moment


@contextmanager
def claimed(folder: Path, job: str, digest: str) -> Iterator[Claim]:
    """Hold a folder while a run works in it; only runs of the same job and digest may work there beside it.

    A claim is a file in the hidden folder ``.claims``, which shows every 10 s that its run lives. Nothing else is
    needed, so machines that share no more than the folder keep out of each other's way. A run is dead if its process is
    gone from this machine, or if it did not show itself for 5 minutes.

    Args:
        folder: It exists.
        job: Such as ``"predict"``.
        digest: Hash of all that the results depend on beside the input; what no other run has, shares with none.

    Yields:
        The hold, by which single cases are claimed too.

    Raises:
        FolderHeldError: A run with another job or digest works in the folder.
        OSError: The claim cannot be written.
    """
    holder = Holder(
        run=uuid4().hex,
        job=job,
        digest=digest,
        host=platform.node(),
        process=os.getpid(),
        born=birth_of(os.getpid()),
        started=now(),
    )
    claim = Claim(folder / _FOLDER, holder)
    try:
        claim.enter()
        yield claim
    finally:
        claim.leave()
