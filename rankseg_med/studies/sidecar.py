"""What is known of a study's outputs, in ``<case id>.json`` where records lie, and what tells one file from another."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from rankseg_med.studies.atomic import write_text
from rankseg_med.studies.errors import StudyError, check_regular_file
from rankseg_med.studies.readers import files_read

SidecarStatus = Literal["started", "done", "failed"]

_END_BYTES = 1 << 16


def fingerprint(paths: Sequence[Path], read_as: str = "") -> str:
    """Fingerprint of a study's files: of each the name, the size, and its first and last 64 KiB.

    A compressed file ends in the checksum of all that it holds, so that any change shows. Of other files the time of
    the last change counts as well: a voxel changed in the middle of a plain ``.nii`` shows, and so does a copy that did
    not keep the time. A header stands for the file of its voxels too, and a folder for the slices in it; see
    `files_read`.

    Args:
        paths: Files or folders, at least one; their order counts, the folders that they lie in do not.
        read_as: How they are read, where that is not as their names have it.

    Returns:
        64 hexadecimal digits.

    Raises:
        StudyError: A path is no regular file (a pipe would never end), or a folder with no file in it.
        OSError: A path is not there or cannot be read.
    """
    digest = hashlib.sha256()
    for file in (file for path in paths for file in files_read(path)):
        check_regular_file(file)
        status = file.stat()
        changed = "" if file.suffix.lower() == ".gz" else str(status.st_mtime_ns)
        digest.update(f"{file.name}\0{status.st_size}\0{changed}\0".encode("utf-8", "surrogateescape"))
        with file.open("rb") as stream:
            digest.update(stream.read(_END_BYTES))
            stream.seek(max(0, status.st_size - _END_BYTES))
            digest.update(stream.read(_END_BYTES))
    digest.update(read_as.encode())
    return digest.hexdigest()


def content_digest(path: Path) -> str:
    """SHA-256 of a file's whole content, 64 hexadecimal digits.

    Raises:
        OSError: The file is not there or cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class OutputFile(BaseModel):
    """An output as it was written.

    Attributes:
        size_bytes: Size of the file.
        sha256: Hash of its whole content, 64 hexadecimal digits.
    """

    model_config = ConfigDict(frozen=True)

    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> OutputFile:
        """What there is now.

        Raises:
            StudyError: It is no regular file.
            OSError: It is not there or cannot be read.
        """
        check_regular_file(path)
        return cls(size_bytes=path.stat().st_size, sha256=content_digest(path))


class Sidecar(BaseModel):
    """State of one study in a folder of records. There is no other record: resume, shards and status read sidecars.

    Further entries are the job's own, such as the decoder and its decisions.

    Attributes:
        case_id: The study.
        job: What was done with it, such as ``"predict"``.
        status: ``"started"`` and not (yet) finished, ``"done"``, or ``"failed"``.
        inputs: Files of the study.
        input_fingerprint: Fingerprint of these files, see `fingerprint`; empty if they could not be read.
        config_digest: Hash of all that the outputs depend on beside the input: settings, weights, and the version of
            the job's results.
        settings: The settings among these, one by one, id to value as text.
        outputs: Path of each output file from the folder, the most important first, and what was written to it; none
            before the status is ``"done"``.
        time: When the status was written, ISO 8601 with offset.
        host: Machine and process that wrote it, such as ``"node7:4711"``.
        versions: Versions of the package and of what it computes with.
        seconds: Wall time of the study.
        stage_seconds: Wall time in each stage of the job.
        error: Why it failed.
        traceback: Traceback that says where it failed.
    """

    # JSON has no word for what is undefined or infinite; as a string it is not lost.
    model_config = ConfigDict(frozen=True, extra="allow", ser_json_inf_nan="strings")

    case_id: str
    job: str
    status: SidecarStatus
    inputs: list[str]
    input_fingerprint: str
    config_digest: str
    settings: dict[str, str] = {}
    outputs: dict[str, OutputFile]
    time: str
    host: str
    versions: dict[str, str] = {}
    seconds: float | None = None
    stage_seconds: dict[str, float] = {}
    error: str | None = None
    traceback: str | None = None

    @classmethod
    def path_in(cls, folder: Path, case_id: str) -> Path:
        """Where a study's sidecar lies."""
        return folder / f"{case_id}.json"

    @classmethod
    def read(cls, path: Path) -> Sidecar:
        """Read a sidecar.

        Raises:
            StudyError: The file is no sidecar, a damaged one, or one of an older version; the message names it.
            OSError: It is not there or cannot be read.
        """
        path.stat()  # what is not there is no fault
        check_regular_file(path)
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "the file"
            raise StudyError(
                f"{path}: is not the sidecar of a study, or damaged, or of an older version ({place}: {first['msg']}); "
                "move it out of the output folder, do the study again with --overwrite, or write to another folder"
            ) from error

    @classmethod
    def all_in(cls, folder: Path) -> Iterator[Sidecar]:
        """The sidecars of a folder, in no order; whatever else lies there, damaged ones too, is passed over."""
        for path in folder.glob("*.json"):
            with suppress(StudyError, OSError):
                yield cls.read(path)

    def write(self, folder: Path) -> Path:
        """Write it, whole or not at all, in place of what the study's sidecar said before."""
        path = self.path_in(folder, self.case_id)
        write_text(self.model_dump_json(indent=2) + "\n", path)
        return path

    @staticmethod
    def name_in(folder: Path, output: Path) -> str:
        """What an output is called in a sidecar of a folder."""
        return Path(os.path.relpath(output, folder)).as_posix()

    @property
    def details(self) -> dict[str, Any]:
        """The job's own entries."""
        return dict(self.model_extra or {})

    def altered(self, folder: Path, outputs: Iterable[Path], *, by_content: bool = True) -> list[str]:
        """Outputs that are no longer as they were written, and how that shows; missing ones are not among them.

        Args:
            folder: Folder of the sidecar.
            outputs: The files that the study should have.
            by_content: Read them; else a change shows by the size alone.
        """
        findings = []
        for path in outputs:
            written = self.outputs.get(self.name_in(folder, path))
            try:
                if written is None:
                    findings.append(f"{path.name} is not among what was written")
                elif (size := path.stat().st_size) != written.size_bytes:
                    findings.append(f"{path.name} has {size} bytes, and had {written.size_bytes} when it was written")
                elif by_content and OutputFile.of(path) != written:
                    findings.append(f"{path.name} holds something else than what was written")
            except FileNotFoundError:
                continue
            except (StudyError, OSError) as error:
                findings.append(f"{path.name} cannot be read ({error})")
        return findings
