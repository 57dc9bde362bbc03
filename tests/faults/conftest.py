"""Every job on small real input, as its command line runs it, to be disturbed."""

import ctypes
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from rankseg_med.demo.phantom import make_phantom, write_phantom
from rankseg_med.studies import LabelledEntry, Manifest

CASES = 6
_PATIENCE_S = 120
_CAPABILITY_VERSION_3 = 0x20080522
# Forked from a process that has imported everything, so that a run starts in milliseconds.
_context = get_context("forkserver")
_context.set_forkserver_preload(["rankseg_med.cli.main"])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.faults)


def _give_up_capabilities() -> None:
    """Of root, who may read everything: from here on, this process may read what its files' permissions say."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, none):
        raise OSError(ctypes.get_errno(), "capset")


def _run(arguments: list[str], log: Path, unprivileged: bool) -> None:
    from rankseg_med.cli.main import main

    os.setpgid(0, 0)
    if unprivileged:
        _give_up_capabilities()
    sys.stdout = sys.stderr = log.open("a")
    os.dup2(sys.stdout.fileno(), 1)
    os.dup2(sys.stderr.fileno(), 2)
    sys.argv = ["rankseg-med", *arguments]
    main()


@dataclass(frozen=True)
class Command:
    """A command of the program on given input; only the output folder is open.

    Attributes:
        arguments: All others.
        log: File of what it prints.
    """

    arguments: tuple[object, ...]
    log: Path

    def start(self, output: Path, *options: object, unprivileged: bool = False) -> BaseProcess:
        """Run it in a process of its own, which may have none of root's privileges."""
        arguments = [str(argument) for argument in (*self.arguments, "--output", output, *options)]
        process = _context.Process(target=_run, args=(arguments, self.log, unprivileged))
        process.start()
        return process

    def run(self, output: Path, *options: object, unprivileged: bool = False) -> int:
        """Run it to its end, which has to come; its exit code."""
        process = self.start(output, *options, unprivileged=unprivileged)
        process.join(_PATIENCE_S)
        if process.exitcode is None:
            process.kill()
            pytest.fail(f"did not end: {self.log.read_text()}")
        assert process.exitcode is not None
        return process.exitcode


@pytest.fixture(scope="module")
def study_folder(tmp_path_factory) -> Path:
    """Images, labels, a data list of both, and stored probabilities of them."""
    folder = tmp_path_factory.mktemp("studies")
    entries = []
    (folder / "probabilities").mkdir()
    for number in range(CASES):
        phantom = make_phantom(40 + number, shape=(40, 40, 24), spacing_mm=(7.0, 7.0, 9.0))
        name = f"case_{number}.nii.gz"
        write_phantom(phantom, folder / "images" / name, folder / "labels" / name)
        labels = nib.load(folder / "labels" / name)
        one_hot = np.eye(3, dtype=np.float32)[np.asarray(labels.dataobj)]
        nib.save(nib.Nifti1Image(0.1 + 0.7 * one_hot, labels.affine), folder / "probabilities" / name)
        paths = {"image": f"images/{name}", "label": f"labels/{name}"}
        entries.append(LabelledEntry(id=f"case_{number}", fold=number % 2, **paths))
    names = {"0": "background", "1": "organ", "2": "tumour"}
    Manifest(name="phantoms", labels=names, training=entries).write(folder / "list.json")
    labeller = {"_target_": "rankseg_med.semisupervised.PseudoLabeller", "largest_component": [[1, 2]]}
    (folder / "pseudo.yaml").write_text(yaml.safe_dump({"extends": "demo", "pseudo_labeller": labeller}))
    tiny = {
        **{"extends": "demo", "roi_size": [16, 16, 16], "epochs": 60, "iterations_per_epoch": 2, "batch_size": 1},
        **{"network_def::channels": [4, 8], "network_def::strides": [2], "validate_every": 5},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    return folder


@pytest.fixture
def commands(study_folder, tmp_path) -> Callable[[str], Command]:
    """By job: predict, decode, evaluate, pseudo-label, train."""
    demo = ("--config", "demo", "--checkpoint", "demo", "--device", "cpu")
    arguments = {
        "predict": ("predict", study_folder / "images", *demo),
        "decode": ("decode", study_folder / "probabilities"),
        "evaluate": ("evaluate", study_folder / "labels", study_folder / "list.json", "--labels", "1=organ,2=tumour"),
        "pseudo-label": (
            *("pseudo-label", study_folder / "list.json", "--config", study_folder / "pseudo.yaml"),
            *("--checkpoint", "demo", "--device", "cpu", "--confidence"),
        ),
        "train": (
            *("train", "--config", study_folder / "tiny.yaml", "--manifest", study_folder / "list.json"),
            *("--device", "cpu"),
        ),
    }
    return lambda job: Command(arguments[job], tmp_path / "log.txt")


def command_on(command: str, source: Path, log: Path, *options: object) -> Command:
    """A command on another input, with the demo's network where it needs one."""
    demo = ("--config", "demo", "--checkpoint", "demo", "--device", "cpu") if command == "predict" else ()
    return Command((command, source, *demo, *options), log)


def records(folder: Path) -> dict[str, dict]:
    """Case id to sidecar, of all that can be read."""
    found = {}
    for path in sorted(folder.glob("case_*.json")):
        content = json.loads(path.read_bytes())
        found[content["case_id"]] = content
    return found
