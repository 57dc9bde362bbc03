"""The content of a network's files, and whether it is still what it was."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections import Counter
from io import BytesIO
from pathlib import Path

from rankseg_med.networks.errors import CheckpointError

# Of a folder of transformers, what the network is made of.
_SUFFIXES_OF_A_FOLDER = (".json", ".safetensors")
_NAMED_IN_MESSAGE = 3


def network_sha256(path: Path) -> str:
    """Hash of all that makes a network, 64 hexadecimal digits: of a file its content, of a folder that of its files.

    Args:
        path: Checkpoint, network in a file, or folder that ``save_pretrained`` wrote, of which ``.json`` and
            ``.safetensors`` count.

    Raises:
        CheckpointError: There is no such file, or it must not be read.
    """
    if not path.is_dir():
        return hashlib.sha256(read_file(path)).hexdigest()
    files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES_OF_A_FOLDER)
    described = (f"{file.name}\0{hashlib.sha256(read_file(file)).hexdigest()}" for file in files)
    return hashlib.sha256("\0".join(described).encode()).hexdigest()


def check_unchanged(path: Path, sha256: str | None, found: str) -> None:
    """Compare hashes; None stands for any.

    Raises:
        CheckpointError: They differ.
    """
    if sha256 not in (None, found):
        raise CheckpointError(f"{path}: is not the file that it was when the run began; run it again")


def read_file(path: Path, sha256: str | None = None) -> bytes:
    """A file's content, of which the hash may be required.

    Raises:
        CheckpointError: There is no such file, it must not be read, or has another hash.
    """
    if not path.is_file():  # which a FIFO is not, and opening one waits forever
        what = "is no regular file" if path.exists() else "no such checkpoint file"
        raise CheckpointError(f"{path}: {what}")
    try:
        data = path.read_bytes()
    except PermissionError as error:
        raise CheckpointError(f"{path}: must not be read by this user ({error.strerror})") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from error
    if sha256 is not None:
        check_unchanged(path, sha256, hashlib.sha256(data).hexdigest())
    return data


def names_in_archive(data: bytes, path: Path) -> list[str]:
    """Names in a zip archive, which is what PyTorch's files are; none if it is none.

    Raises:
        CheckpointError: The archive is damaged, or a name stands twice: programs disagree on which they take.
    """
    if not zipfile.is_zipfile(BytesIO(data)):
        return []
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            names = archive.namelist()
            damaged = archive.testzip()  # PyTorch itself does not look at the checksums
    except (zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise CheckpointError(f"{path}: is damaged or no checkpoint ({error})") from error
    if damaged is not None:
        raise CheckpointError(
            f"{path}: is damaged ({damaged} has another checksum than when it was saved); put a whole copy in its place"
        )
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise CheckpointError(f"{path}: {listed('holds twice', repeated)[0]}; save it anew")
    return names


def listed(what: str, names: list[str]) -> list[str]:
    """The first few of the names, as a message has them; nothing if there are none."""
    if not names:
        return []
    more = f" and {len(names) - _NAMED_IN_MESSAGE} more" if len(names) > _NAMED_IN_MESSAGE else ""
    return [f"{what}: {', '.join(names[:_NAMED_IN_MESSAGE])}{more}"]
