"""The search-loss command: a whole search in seconds, and what it refuses."""

import json
import logging
from threading import Event

import pytest
import yaml

from rankseg_med.configuration import load_config
from rankseg_med.loss_search import LOSS, SEARCH
from rankseg_med.loss_search.proxy import ProxyTask
from rankseg_med.loss_search.steps import Trial
from tests.proxy_task import write_proxy_task


@pytest.fixture
def search(rankseg_med, tmp_path, caplog):
    write_proxy_task(tmp_path)

    def run(*options):
        files = ("--config", tmp_path / "tiny.yaml", "--manifest", tmp_path / "list.json", "-o", tmp_path / "found")
        with caplog.at_level(logging.INFO, logger="rankseg_med"):
            return rankseg_med("search-loss", *files, "--steps", 2, "--samples", 2, "--device", "cpu", *options)

    return run


def test_a_whole_search(search, tmp_path):
    result = search("--set", "loss::metric=mIoU")
    assert result.code == 0, result.err
    assert "training on 3 studies, scoring on 1" in result.err
    assert "step 2 of 2, loss 2 of 2: 0." in result.err
    assert "mIoU of the losses that were tried" in result.out
    record = json.loads((tmp_path / "found" / SEARCH).read_text())
    assert [study["case_id"] for study in record["task"]["training"]] == ["ball_2", "ball_3", "ball_4"]
    assert [study["case_id"] for study in record["task"]["validation"]] == ["ball_1"]
    loss = yaml.safe_load((tmp_path / "found" / LOSS).read_text())["loss"]
    assert loss["parameters"].keys() == {"and", "or"}
    config = load_config("train", ["lung_nodules", tmp_path / "found" / LOSS], device="cpu")
    assert config.get_parsed_content("loss").metric.name == "mIoU"


def test_a_search_that_is_stopped_says_how_it_goes_on(search, monkeypatch):
    stopped = Event()

    def attempt(task, sample):
        stopped.set()
        return Trial(score=0.5)

    monkeypatch.setattr(ProxyTask, "attempt", attempt)
    monkeypatch.setattr("rankseg_med.cli.search_loss.Event", lambda: stopped)
    result = search()
    assert result.code == 130
    assert "stopped; run the same command again to go on" in result.out
    stopped.clear()
    monkeypatch.setattr(ProxyTask, "attempt", lambda task, sample: Trial(score=0.5))
    assert search().code == 0


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--held-out", 0), 2, "--held-out must be another fold than --fold"),
        (("--held-out", 9), 1, "no study of the data list is in fold 9"),
        (("--set", "loss::metric=hd95"), 1, "loss::metric: must be gAcc or"),
        (("--set", "loss={_target_: DiceLoss}"), 1, "loss: must be a rankseg_med.losses.SurrogateLoss"),
        (("--samples", 1), 2, "greater than or equal to 2"),
        (("--ray-address", "auto"), 2, "--ray-address means nothing with the executor in-process"),
    ],
)
def test_what_cannot_be_searched(search, tmp_path, options, code, message):
    result = search(*options)
    assert result.code == code
    assert message in " ".join(result.err.replace("│", " ").split())
    assert not (tmp_path / "found" / SEARCH).exists()
