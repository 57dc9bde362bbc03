import os
import pickle

import pytest
import torch
from ignite.engine import Engine, Events

from rankseg_med.studies import StudyError
from rankseg_med.training import checkpoint as training_checkpoint
from rankseg_med.training.checkpoint import (
    best_checkpoint,
    finished_epochs,
    read_states,
    restore,
    write_states,
)


class Trainer:
    def state_dict(self):
        return {"iteration": 25, "epoch_length": 10, "max_epochs": 4}


def parts(size=2):
    network = torch.nn.Linear(size, 1)
    optimizer = torch.optim.Adam(network.parameters())
    scheduler = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=4)
    return {"network": network, "optimizer": optimizer, "lr_scheduler": scheduler}


@pytest.fixture
def last(tmp_path):
    path = tmp_path / "last.pt"
    write_states({**parts(), "trainer": Trainer()}, path)
    return path


def test_what_was_written_is_restored(last):
    content = read_states(last)
    assert finished_epochs(content) == 2
    restored = parts()
    restore(restored, content, last)
    assert torch.equal(restored["network"].weight, content["network"]["weight"])
    assert restored["optimizer"].param_groups[0]["lr"] == pytest.approx(1e-3 / 2)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


def damage(path, how):
    content = path.read_bytes()
    if how == "empty":
        path.write_bytes(b"")
    elif how == "half":
        path.write_bytes(content[: len(content) // 2])
    elif how == "text":
        path.write_text("no checkpoint")
    elif how == "pickle":
        path.write_bytes(pickle.dumps({"network": 1}))
    elif how == "code":
        torch.save({"trainer": Evil()}, path)
    elif how == "list":
        torch.save([torch.ones(1)], path)
    elif how == "weights":
        torch.save(parts()["network"].state_dict(), path)
    elif how == "no length":
        torch.save({"trainer": {"iteration": 1, "epoch_length": 0}}, path)
    elif how == "folder":
        path.unlink()
        path.mkdir()
    elif how == "one bit":
        weights = torch.load(path, weights_only=True)["network"]["weight"].numpy().tobytes()
        place = content.index(weights)
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        *((how, "is damaged or no checkpoint") for how in ("empty", "half", "text", "pickle")),
        ("one bit", r"is damaged \(.*has another checksum\)"),
        ("folder", r"cannot be read \(Is a directory\)"),
        ("code", "must hold tensors and numbers only"),
        *((how, "is not the checkpoint of a training") for how in ("list", "weights", "no length")),
    ],
)
def test_a_damaged_file_is_named(last, monkeypatch, how, reason):
    monkeypatch.chdir(last.parent)
    damage(last, how)
    with pytest.raises(StudyError, match=rf"last\.pt: {reason}.*train anew in another folder"):
        read_states(last)
    assert sorted(path.name for path in last.parent.iterdir()) == ["last.pt"]


def test_a_checkpoint_of_something_else_is_named(last):
    content = read_states(last)
    with pytest.raises(StudyError, match=r"last\.pt: .*lacks student"):
        restore({**parts(), "student": torch.nn.Linear(2, 1)}, content, last)
    with pytest.raises(StudyError, match=r"last\.pt: .*its network does not fit .*size mismatch"):
        restore(parts(size=3), content, last)
    with pytest.raises(StudyError, match=r"last\.pt: .*its optimizer does not fit"):
        restore(parts(), {**content, "optimizer": {"state": {}, "param_groups": []}}, last)
    with pytest.raises(StudyError, match=r"last\.pt: .*its network does not fit"):
        restore(parts(), {**content, "network": 3}, last)


def test_the_best_is_kept_and_never_missing(tmp_path, monkeypatch):
    path, network = tmp_path / "best.pt", torch.nn.Linear(1, 1)
    scores = iter([0.5, 0.4, 0.7, 0.7])
    evaluator = Engine(lambda engine, batch: None)
    handler = best_checkpoint({"network": network}, path, "dice")
    there = []

    def save(content, temporary, save=torch.save):
        there.append(path.exists())
        save(content, temporary)

    monkeypatch.setattr(training_checkpoint.torch, "save", save)

    @evaluator.on(Events.COMPLETED)
    def score(engine):
        engine.state.metrics["dice"] = next(scores)
        torch.nn.init.constant_(network.weight, engine.state.metrics["dice"])
        handler(engine)

    kept = []
    for _ in range(4):
        evaluator.run([0])
        kept.append(round(float(torch.load(path, weights_only=True)["weight"]), 3))
    assert kept == [0.5, 0.5, 0.7, 0.7]
    # Ignite's own saver removes the old file before it writes the new one.
    assert there == [False, True]
    assert [file.name for file in tmp_path.iterdir()] == ["best.pt"]
