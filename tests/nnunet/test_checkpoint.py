"""Checkpoints of nnU-Net hold numpy's numbers beside weights, and must not hold code."""

import os
import zipfile

import numpy as np
import pytest
import torch

from rankseg_med.networks import CheckpointError
from rankseg_med.nnunet import NnunetError
from rankseg_med.nnunet.checkpoint import Checkpoint
from rankseg_med.studies import content_digest
from tests.nnunet.given import write_states

WEIGHTS = {"layer.weight": torch.arange(3.0)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fold_0" / "checkpoint_final.pth"


def test_what_is_read(path):
    write_states(path, WEIGHTS, inference_allowed_mirroring_axes=(0, 2))
    checkpoint = Checkpoint.read(path, content_digest(path))
    assert torch.equal(checkpoint.weights["layer.weight"], WEIGHTS["layer.weight"])
    assert (checkpoint.trainer, checkpoint.configuration) == ("nnUNetTrainer", "3d_fullres")
    assert checkpoint.mirroring_axes == (0, 2)


def test_files_that_numpy_1_wrote(path, tmp_path):
    write_states(tmp_path / "new.pth", WEIGHTS)
    path.parent.mkdir()
    with zipfile.ZipFile(tmp_path / "new.pth") as new, zipfile.ZipFile(path, "w") as old:
        for entry in new.infolist():
            old.writestr(entry.filename, new.read(entry).replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert b"numpy.core.multiarray" in path.read_bytes()
    assert Checkpoint.read(path).trainer == "nnUNetTrainer"


class Harmful:
    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (self.place,)


def test_code_is_not_run(path, tmp_path):
    write_states(path, WEIGHTS, logging=Harmful(str(tmp_path / "run")))
    with pytest.raises(CheckpointError, match=r"can run code, got posix\.mkdir"):
        Checkpoint.read(path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("trainer", ["nnUNetTrainerNoMirroring", "nnUNetTrainer_250epochs", "nnUNetTrainer_1epoch"])
def test_trainers_that_keep_the_plans_network(path, trainer):
    write_states(path, WEIGHTS, trainer_name=trainer)
    assert Checkpoint.read(path).trainer == trainer


@pytest.mark.parametrize(
    "trainer", ["nnUNetTrainerBN", "nnUNet_Primus_M_Trainer", "MyTrainer", "nnUNetTrainerUMambaBot", None]
)
def test_other_trainers_are_refused_by_name(path, trainer):
    write_states(path, WEIGHTS, trainer_name=trainer)
    with pytest.raises(NnunetError, match=f"got {trainer!r}, whose network is not known"):
        Checkpoint.read(path)


@pytest.mark.parametrize("entry", ["network_weights", "trainer_name", "init_args"])
def test_entries_that_are_missing(path, entry):
    write_states(path, WEIGHTS)
    with torch.serialization.safe_globals([]):
        content = torch.load(path, weights_only=False)
    del content[entry]
    torch.save(content, path)
    with pytest.raises(NnunetError, match=f"a checkpoint of nnU-Net v2.*'{entry}' is missing"):
        Checkpoint.read(path)


def test_a_file_of_something_else(path):
    path.parent.mkdir()
    torch.save([np.float64(1)], path)
    with pytest.raises(NnunetError, match="must be a checkpoint of nnU-Net v2"):
        Checkpoint.read(path)
    with pytest.raises(CheckpointError, match="is not the file that it was"):
        Checkpoint.read(path, "0" * 64)
