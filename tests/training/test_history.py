import csv

import pytest

from rankseg_med.studies import StudyError
from rankseg_med.training.history import History, TrainingProgress


def progress(epoch, dice=None):
    return TrainingProgress(epoch, 5, 10 * epoch, 0.1 / epoch, 1 / 3, dice, 2.5)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_line_an_epoch(tmp_path):
    history = History(tmp_path / "history.csv")
    assert not history.path.exists()
    history.add(progress(1))
    history.add(progress(2, dice=0.5))
    assert rows(history.path) == [
        {
            **{"epoch": "1", "epochs": "5", "iteration": "10", "learning_rate": "0.1", "loss": str(1 / 3)},
            **{"validation_dice": "", "seconds": "2.5"},
        },
        {
            **{"epoch": "2", "epochs": "5", "iteration": "20", "learning_rate": "0.05", "loss": str(1 / 3)},
            **{"validation_dice": "0.5", "seconds": "2.5"},
        },
    ]


def test_a_resumed_run_replaces_the_epochs_after_its_checkpoint(tmp_path):
    path = tmp_path / "history.csv"
    before = History(path)
    for epoch in (1, 2, 3):
        before.add(progress(epoch, dice=0.1))
    history = History(path, epochs=2)
    assert [row["epoch"] for row in rows(path)] == ["1", "2", "3"]
    history.add(progress(3, dice=0.9))
    assert [(row["epoch"], row["validation_dice"]) for row in rows(path)] == [("1", "0.1"), ("2", "0.1"), ("3", "0.9")]


@pytest.mark.parametrize("content", [b"", b"case_id,dice\na,1\n", b"\xff\xfe\0", b"epoch,epochs\n1,2\n"])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "history.csv"
    path.write_bytes(content)
    with pytest.raises(StudyError, match=r"history\.csv: is no history of a training"):
        History(path, epochs=1)
