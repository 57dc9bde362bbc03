import numpy as np
import pytest
import torch
from scipy.spatial import distance

from rankseg_med.loss_search import proxy
from rankseg_med.loss_search.proxy import ProxyTask, Sample, score_of
from rankseg_med.losses import SegmentationMetric
from rankseg_med.studies import StudyError, find_studies, load_label_map
from rankseg_med.transforms import LoadStudyd


class Bright(torch.nn.Module):
    """Says that what is brighter than most is the ball."""

    def forward(self, image):
        return torch.cat([torch.full_like(image, 0.5), image], 1)


def test_the_score_is_the_metric_of_all_studies_together(config, data):
    config["network"] = Bright()
    found = find_studies(data / "list.json")[:2]
    preprocessing, predicted, true = config.get_parsed_content("preprocessing"), [], []
    for study in found:
        predicted.append((preprocessing(study.item)["image"][0] > 0.5).numpy().ravel())
        true.append(load_label_map(study.label)[0].numpy().ravel() == 1)
    expected = 1 - distance.dice(np.concatenate(true), np.concatenate(predicted))
    assert score_of(config, found, SegmentationMetric("Dice", include_background=False), {}) == pytest.approx(expected)
    assert 0.5 < expected < 1


def test_labels_beyond_the_classes_are_named(config, data):
    config["network"] = Bright()
    config["num_classes"] = 1
    with pytest.raises(StudyError, match=r"l0\.nii\.gz: has label 1, but the config has 1 classes"):
        score_of(config, find_studies(data / "list.json")[:1], SegmentationMetric("Dice"), {})


def test_a_training_on_cpu_has_one_thread_whoever_runs_it(config, data, monkeypatch):
    """Or its numbers would depend on how many trainings run side by side."""
    threads = []
    monkeypatch.setattr(proxy, "train", lambda *_, **__: threads.append(torch.get_num_threads()))
    monkeypatch.setattr(proxy, "score_of", lambda *_: 0.5)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        trial = ProxyTask(config.get(), [], find_studies(data / "list.json")[:1], 0).attempt(Sample(0, (0.5,) * 12))
        threads.append(torch.get_num_threads())
    finally:
        torch.set_num_threads(before)
    assert threads == [1, 2]
    assert trial.score == 0.5


def test_studies_are_preprocessed_once_and_trainings_are_as_if_each_had_done_it(config, data, monkeypatch):
    monkeypatch.setattr(proxy, "score_of", lambda config, *_: _sum_of_weights(config.get_parsed_content("network")))
    loaded = _note_what_is_loaded(monkeypatch)
    studies = find_studies(data / "list.json")
    samples = [Sample(0, (0.5,) * 12), Sample(1, (0.3,) * 12)]
    task = ProxyTask(config.get(), studies, studies[:1], 0)
    scores = [task.attempt(sample).score for sample in samples]
    assert sorted(loaded) == sorted(study.case_id for study in studies)
    assert scores == [ProxyTask(config.get(), studies, studies[:1], 0).attempt(sample).score for sample in samples]
    assert scores[0] != scores[1]


def test_held_out_studies_are_preprocessed_once(config, data, monkeypatch):
    config["network"] = Bright()
    loaded, studies, kept = _note_what_is_loaded(monkeypatch), find_studies(data / "list.json")[:2], {}
    first, second = (score_of(config, studies, SegmentationMetric("Dice"), kept) for _ in range(2))
    assert first == second
    assert loaded == [study.case_id for study in studies]


def _sum_of_weights(network):
    return sum(weights.double().sum().item() for weights in network.parameters())


def _note_what_is_loaded(monkeypatch):
    """Case ids, as they are loaded."""
    loaded, load = [], LoadStudyd.__call__
    monkeypatch.setattr(LoadStudyd, "__call__", lambda self, item: loaded.append(item["case_id"]) or load(self, item))
    return loaded
