import copy
import re

import pytest
import torch
import yaml

from rankseg_med.configuration.config import Config, ConfigError, load_config
from rankseg_med.configuration.files import shipped_configs
from rankseg_med.inference.windows import WindowGrid
from rankseg_med.studies import DicomSegFormat, read_structures
from tests.conftest import REPOSITORY

METHODS = ("bcp", "mean_teacher")
STEPS = ("classify", "pretrain", "self_training")
"""All over a data set's config; nothing by themselves."""
OF_DATA_SETS = [name for name in shipped_configs() if name not in (*METHODS, *STEPS)]


@pytest.mark.parametrize("job", ["inference", "train"])
@pytest.mark.parametrize("name", OF_DATA_SETS)
def test_every_part_of_every_shipped_config_can_be_built(job, name):
    config = load_config(job, name, device="cpu")
    for entry in config.config:
        config.get_parsed_content(entry)


@pytest.mark.parametrize("name", [name for name in OF_DATA_SETS if not name.startswith((*METHODS, *STEPS))])
def test_networks_fit_their_windows_and_classes(name):
    config = load_config("inference", name, device="cpu")
    network = config.get_parsed_content("network")
    roi = config.get_parsed_content("roi_size")
    # Of shapes alone: published windows are large.
    logits = network.to("meta")(torch.zeros(1, config.get_parsed_content("channels"), *roi, device="meta"))
    assert logits.shape == (1, len(config["label_names"]), *roi)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_goes_over_any_data_set(method):
    config = load_config("train", ["lits", method], device="cpu")
    assert config.get_parsed_content("method").teacher is config.get_parsed_content("teacher")
    with pytest.raises(ConfigError, match=f"{method}.yaml: lacks label_names"):
        load_config("train", method, device="cpu")


@pytest.mark.parametrize("name", [name for name in OF_DATA_SETS if name.startswith("classify")])
def test_classifiers_fit_their_windows_and_classes(name):
    config = load_config("train", name, device="cpu")
    for classifier in config.get_parsed_content("classifiers"):
        logits = classifier.eval().to("meta")(torch.zeros(1, 1, *config["roi_size"], device="meta"))
        assert logits.shape == (1, len(config["label_names"]))


def test_left_atria_are_seen_in_the_steps_of_the_papers():
    """The published test code moves its window by 18, 18 and 4 voxels."""
    roi, overlap = (load_config("inference", "left_atrium")[key] for key in ("roi_size", "inferer::overlap"))
    grid = WindowGrid.of([112 + 18, 112 + 18, 80 + 4], roi, overlap)
    assert [layer.start for layer in grid.layers] == [0, 18]
    assert [[part.start for part in place] for place in grid.layers[0].windows] == [[0, 0], [0, 4], [18, 0], [18, 4]]


def test_shipped_names():
    assert {"demo", "hippocampus"} <= set(shipped_configs())
    assert not {"inference", "train"} & set(shipped_configs())


def test_overlay_replaces_nested_values(tmp_path):
    overlay = dict(load_config("inference", "demo").config)
    overlay = {key: overlay[key] for key in ("label_names", "spacing_mm", "roi_size", "intensity", "network_def")}
    overlay["inferer::overlap"] = 0.25
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(overlay))
    inferer = load_config("inference", path, device="cpu").get_parsed_content("inferer")
    assert inferer.overlap == 0.25
    assert list(inferer.roi_size) == overlay["roi_size"]


def test_overlay_of_an_overlay(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("extends: bcp_hippocampus\nteacher::decay: 0.5\n")
    config = load_config("train", path, device="cpu")
    assert config.get_parsed_content("teacher").decay == 0.5
    assert config["roi_size"] == load_config("train", "hippocampus", device="cpu")["roi_size"]


def test_an_overlay_extends_a_file_beside_it(tmp_path, monkeypatch):
    """Wherever the program runs."""
    (tmp_path / "project" / "bases").mkdir(parents=True)
    (tmp_path / "project" / "bases" / "ours.yaml").write_text("extends: hippocampus\nepochs: 7\n")
    (tmp_path / "project" / "mine.yaml").write_text("extends: bases/ours.yaml\nbatch_size: 3\n")
    monkeypatch.chdir(tmp_path)
    config = load_config("train", "project/mine.yaml", device="cpu")
    assert (config["epochs"], config["batch_size"], config["spacing_mm"]) == (7, 3, [1.0, 1.0, 1.0])


def test_an_overlay_extends_several_and_what_they_extend_once(tmp_path):
    for name, content in {
        "base": "extends: hippocampus\nepochs: 1\nbatch_size: 1\n",
        "longer": "extends: base.yaml\nepochs: 2\n",
        "larger": "extends: base.yaml\nbatch_size: 2\n",
        "mine": "extends: [longer.yaml, larger.yaml]\nlearning_rate: 0.5\n",
    }.items():
        (tmp_path / f"{name}.yaml").write_text(content)
    config = load_config("train", tmp_path / "mine.yaml", device="cpu")
    assert (config["epochs"], config["batch_size"], config["learning_rate"]) == (2, 2, 0.5)


def test_overlays_that_extend_each_other(tmp_path):
    (tmp_path / "a.yaml").write_text("extends: b.yaml\n")
    (tmp_path / "b.yaml").write_text("extends: a.yaml\n")
    with pytest.raises(ConfigError, match=r"extends itself, by way of a\.yaml, b\.yaml, a\.yaml"):
        load_config("train", tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"no such config file, nor a shipped config \(.*demo, hippocampus"),
        ("label_names: [background, liver]\n", "lacks network_def"),
        ("a: [1\n", "cannot be read as a YAML config"),
        ("just text", "cannot be read as a YAML config"),
        ("extends: nowhere\n", "nowhere: no such config file"),
    ],
)
def test_wrong_configs_are_named(tmp_path, content, message):
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        load_config("inference", path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_that_is_not_there():
    with pytest.raises(ConfigError, match="PyTorch sees no CUDA device; use --device cpu"):
        load_config("inference", "demo", device="cuda")


@pytest.mark.parametrize("job", ["inference", "train", "decode"])
def test_the_documentations_example_serves_every_job(tmp_path, job):
    page = (REPOSITORY / "docs" / "inference.md").read_text()
    (example,) = re.findall(r"```yaml\n(extends: .*?)```", page, flags=re.DOTALL)
    path = tmp_path / "mine.yaml"
    path.write_text(example)
    assert load_config(job, path, device="cpu").get_parsed_content("roi_size") == [96, 96, 64]


def test_settings_that_are_replaced_later_are_built(tmp_path):
    """As the command line does; also in another process, which has the settings alone."""
    config = load_config("inference", "demo", device="cpu")
    config["decoder::name"] = "iou"
    assert Config(copy.deepcopy(config.get())).get_parsed_content("decoder").metric == "iou"


@pytest.mark.parametrize("name", OF_DATA_SETS)
def test_what_shipped_configs_tell_dicom_fits_their_names(name):
    config = load_config("inference", name)
    names = {label: name for label, name in enumerate(config["label_names"]) if label}
    DicomSegFormat(read_structures(config.get("structures"))).check_names(names)
