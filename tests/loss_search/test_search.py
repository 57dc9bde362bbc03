"""The search as a job: what it leaves, that it goes on to the bit, and what stops it."""

import itertools
import json
from dataclasses import replace
from threading import Event

import pytest
import yaml

from rankseg_med.configuration import load_config
from rankseg_med.errors import InputError
from rankseg_med.executors import InProcesses
from rankseg_med.loss_search import LOSS, SEARCH, SearchSettings, search_loss
from rankseg_med.loss_search.proxy import ProxyTask
from rankseg_med.loss_search.steps import Trial
from rankseg_med.losses import SurrogateLoss
from rankseg_med.studies import StudyError

SETTINGS = SearchSettings(steps=2, samples=2, seed=3, updates=2)


class KilledError(Exception):
    pass


def tried(folder):
    """Parameters and scores of a search, as it recorded them."""
    steps = json.loads((folder / SEARCH).read_text())["steps"]
    return [(s["mean"], s["samples"], {i: (t["score"], t["reason"]) for i, t in s["trials"].items()}) for s in steps]


def test_a_search_that_was_killed_finds_the_same(config, studies, tmp_path):
    whole = search_loss(config, *studies, tmp_path / "whole", SETTINGS)
    assert len({trial.score for step in whole.steps for trial in step.trials.values()}) > 1  # losses do differ

    for kill_after in (1, 2):  # and once more, after the search has gone on
        count = itertools.count(1)

        def kill(step, index, trial, count=count, kill_after=kill_after):
            if next(count) == kill_after:
                raise KilledError

        with pytest.raises(KilledError):
            search_loss(config, *studies, tmp_path / "parts", SETTINGS, on_trial=kill)
        assert not (tmp_path / "parts" / LOSS).exists()
    search_loss(config, *studies, tmp_path / "parts", SETTINGS)
    assert tried(tmp_path / "parts") == tried(tmp_path / "whole")
    assert (tmp_path / "parts" / LOSS).read_bytes() == (tmp_path / "whole" / LOSS).read_bytes()


def test_what_is_found_is_an_overlay(config, studies, tmp_path, monkeypatch):
    monkeypatch.setattr(ProxyTask, "attempt", lambda task, sample: Trial(score=sample.parameters[0]))
    search = search_loss(config, *studies, tmp_path, SETTINGS)
    best = max(search.steps, key=lambda step: sum(sample[0] for sample in step.samples))
    assert search.score == pytest.approx(sum(sample[0] for sample in best.samples) / 2)
    (tmp_path / "over.yaml").write_text(yaml.safe_dump({"extends": ["lung_nodules", LOSS]}))
    loss = load_config("train", tmp_path / "over.yaml", device="cpu").get_parsed_content("loss")
    assert isinstance(loss, SurrogateLoss)
    assert [*loss.parameters_of["and"], *loss.parameters_of["or"]] == best.mean
    assert not loss.metric.include_background
    assert f"Dice {search.score:.4f} on 1 held-out studies" in (tmp_path / LOSS).read_text().splitlines()[0]


def test_where_every_training_diverges_nothing_is_found(config, studies, tmp_path):
    config["learning_rate"] = 1e30
    for _ in range(2):  # nor when it is asked again
        with pytest.raises(InputError, match=r"all 2 trainings diverged.*lower the learning rate"):
            search_loss(config, *studies, tmp_path, SearchSettings(steps=1, samples=2))
    ((_, _, trials),) = tried(tmp_path)
    for score, reason in trials.values():
        assert score == 0
        assert "the loss became" in reason or "the trained network says" in reason
    assert not (tmp_path / LOSS).exists()


def test_a_training_that_diverges_has_the_worst_score(config, studies, tmp_path, monkeypatch):
    outcomes = [Trial(score=0.0, reason="diverged"), Trial(score=0.5)]
    monkeypatch.setattr(ProxyTask, "attempt", lambda task, sample: outcomes[sample.index])
    search = search_loss(config, *studies, tmp_path, SearchSettings(steps=1, samples=2))
    assert search.score == 0.25
    assert search.loss["parameters"]["and"] == pytest.approx([1 / 4, 1 / 4, 1 / 3, 1 / 3, 1 / 2, 1 / 2])


def test_it_is_on_record_when_and_where_it_ran(config, studies, tmp_path, monkeypatch):
    monkeypatch.setattr(ProxyTask, "attempt", lambda task, sample: Trial(score=0.5))
    starts = []
    for _ in range(3):
        stop = Event()
        once = {"stop": stop, "on_trial": lambda *_, stop=stop: stop.set()}
        assert search_loss(config, *studies, tmp_path, SETTINGS, on_start=starts.append, **once) is None
    for _ in range(2):
        search_loss(config, *studies, tmp_path, SETTINGS, on_start=starts.append)
    assert starts == [0, 1, 2, 3, 4]
    sessions = json.loads((tmp_path / SEARCH).read_text())["task"]["sessions"]
    assert [(one["device"], one["iteration"]) for one in sessions] == [("cpu", number) for number in range(4)]


def test_scores_of_two_types_of_devices_are_not_compared(config, studies, tmp_path, monkeypatch):
    monkeypatch.setattr(ProxyTask, "attempt", lambda task, sample: Trial(score=0.5))
    search_loss(config, *studies, tmp_path, SETTINGS, stop=(stop := Event()), on_trial=lambda *_: stop.set())
    path = tmp_path / SEARCH
    content = json.loads(path.read_text())
    content["task"]["sessions"][0]["device"] = "cuda:1"
    path.write_text(json.dumps(content))
    with pytest.raises(StudyError, match="device: was cuda, is now cpu"):
        search_loss(config, *studies, tmp_path, SETTINGS)


def test_a_complete_search_can_be_read_anywhere(config, studies, tmp_path, monkeypatch):
    monkeypatch.setattr(ProxyTask, "attempt", lambda task, sample: Trial(score=0.5))
    search_loss(config, *studies, tmp_path, SETTINGS)
    content = json.loads((tmp_path / SEARCH).read_text())
    content["task"]["sessions"][0]["device"] = "cuda:1"
    (tmp_path / SEARCH).write_text(json.dumps(content))
    (tmp_path / LOSS).unlink()
    assert search_loss(config, *studies, tmp_path, SETTINGS).score == 0.5
    assert (tmp_path / LOSS).exists()


def test_the_config_stays_as_it_is(config, studies, tmp_path, monkeypatch):
    monkeypatch.setattr(ProxyTask, "attempt", lambda task, sample: Trial(score=0.5))
    config["num_workers"] = 7
    search_loss(config, *studies, tmp_path, SETTINGS)
    assert config["num_workers"] == 7


def test_a_stopped_search_goes_on(config, studies, tmp_path, monkeypatch):
    monkeypatch.setattr(ProxyTask, "attempt", lambda task, sample: Trial(score=0.5))
    stop = Event()
    found = search_loss(config, *studies, tmp_path, SETTINGS, stop=stop, on_trial=lambda *_: stop.set())
    assert found is None
    assert len(tried(tmp_path)[0][2]) == 1
    assert search_loss(config, *studies, tmp_path, SETTINGS).score == 0.5


def test_another_search_is_not_gone_on_with(config, studies, data, tmp_path, monkeypatch):
    monkeypatch.setattr(ProxyTask, "attempt", lambda task, sample: Trial(score=0.5))
    search_loss(config, *studies, tmp_path, SETTINGS)
    before = (tmp_path / SEARCH).read_bytes()
    config["loss::metric"] = "mIoU"
    config["epochs"] = 2
    with pytest.raises(StudyError, match="holds another search") as refused:
        search_loss(config, studies[0][1:], studies[1], tmp_path, SearchSettings(steps=3, samples=2, updates=2))
    for difference in (
        "steps: was 2, is now 3",
        "seed: was 3, is now 0",
        "epochs: was 1, is now 2",
        "loss::metric: was Dice, is now mIoU",
        "training studies no longer there: ball_2",
    ):
        assert difference in str(refused.value)
    assert (tmp_path / SEARCH).read_bytes() == before


def test_what_fails_for_another_reason_ends_the_search(config, studies, tmp_path, monkeypatch):
    broken = [studies[1][0].__class__("gone", tmp_path / "gone.nii.gz", tmp_path / "gone_label.nii.gz")]
    with pytest.raises(StudyError, match=r"gone\.nii\.gz"):
        search_loss(config, studies[0], broken, tmp_path / "search", SETTINGS)

    def attempt(task, sample):
        if sample.index:
            raise OSError("the disk is away")
        return Trial(score=0.5)

    monkeypatch.setattr(ProxyTask, "attempt", attempt)
    with pytest.raises(OSError, match="the disk is away"):
        search_loss(config, *studies, tmp_path / "search", SETTINGS)
    ((_, _, trials),) = tried(tmp_path / "search")
    assert [int(index) for index in trials] == [0]


def test_a_loss_of_an_earlier_search_does_not_stay_beside_the_record_of_another(config, studies, tmp_path, monkeypatch):
    (tmp_path / LOSS).write_text("loss: lovasz")
    monkeypatch.setattr(ProxyTask, "attempt", lambda task, sample: Trial(score=0.5))
    stop = Event()
    assert search_loss(config, *studies, tmp_path, SETTINGS, stop=stop, on_trial=lambda *_: stop.set()) is None
    assert (tmp_path / SEARCH).exists()
    assert not (tmp_path / LOSS).exists()


def test_what_cannot_be_searched(config, studies, tmp_path):
    with pytest.raises(InputError, match="needs studies to train on and to score, got 3 and 0"):
        search_loss(config, studies[0], [], tmp_path)
    with pytest.raises(InputError, match="must not be trained on, got ball_2 for both"):
        search_loss(config, studies[0], studies[0][:1], tmp_path)
    other = load_config("train", "lung_nodules", device="cpu")
    with pytest.raises(InputError, match=r"loss: must be a rankseg_med.losses.SurrogateLoss.*, got DiceCELoss"):
        search_loss(other, *studies, tmp_path)
    (tmp_path / SEARCH).write_text("{}")
    with pytest.raises(StudyError, match=r"search\.json: is not the record of a search"):
        search_loss(config, *studies, tmp_path)


@pytest.mark.slow
def test_side_by_side_it_is_the_same_search(config, studies, tmp_path):
    settings = replace(SETTINGS, steps=1)
    search_loss(config, *studies, tmp_path / "one", settings)
    search_loss(config, *studies, tmp_path / "two", settings, executor=InProcesses(2))
    assert tried(tmp_path / "one") == tried(tmp_path / "two")
