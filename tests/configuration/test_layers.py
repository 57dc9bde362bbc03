import pytest

from rankseg_med.configuration import ConfigError, load_config

CALIBRATION = "calibration: {_target_: rankseg_med.calibration.Temperature, num_classes: '@num_classes'}\n"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("clenaup: null", "clenaup: no job has such a key, and no entry refers to it; did you mean cleanup?"),
        ("Store: disk", "Store: no job has such a key, and no entry refers to it; did you mean store?"),
        ("spacing: [1, 1, 1]", "did you mean spacing_mm?"),
        ("lable_names: [a, b]", "did you mean label_names?"),
        ("learning_rat: 0.1", "did you mean learning_rate?"),
        ("my_window: [16, 16, 16]", "my_window: no job has such a key, and no entry refers to it; known are "),
        ("my_window: '@my_window::0'", "my_window: no job has such a key, and no entry refers to it; known are "),
        ("inferrer::overlap: 0.5", "inferrer::overlap: there is no inferrer; did you mean inferer?"),
        ("inferrer#overlap: 0.5", "there is no inferrer; did you mean inferer?"),
        ("+clenaup: []", "+clenaup: there is no clenaup; did you mean cleanup?"),
        ("inferer::rio_size: [8, 8, 8]", "StreamingInferer has no argument rio_size; did you mean roi_size?"),
        ("inferer: {rio_size: [8, 8, 8]}", "inferer::rio_size: "),
        ("inferer: {overlap: 0.1}", "inferer: replaces all of inferer, but lacks a _target_; to change one value, "),
        ("decoder: {nmae: dice}", "decoder::nmae: "),
        ("cleanup: {lables: [1]}", "cleanup::lables: "),
        ("preprocessing::transforms::9: null", "preprocessing::transforms has 4 entries, numbered from 0, but none"),
        ("preprocessing::transforms::x::keys: image", "has 4 entries, numbered from 0, but none that is x"),
        ("preprocessing::transform::0: null", "there is no transform in preprocessing; did you mean transforms?"),
        ("store::place: disk", "store is 'memory' and has no place; replace store as a whole"),
        ("calibration::num_classes: 3", "calibration is null and has no num_classes"),
        ("teacher::decay: 0.5", "teacher::decay: there is no teacher in the config"),
        ("+cleanup: [1]", "+cleanup: adds entries to entries, or items to a list; got [1]"),
        ("inferer::axis: 1\ninferer#axis: 2", "inferer::axis stands twice"),
        (
            "inferer::axis: 1\ninferer: {_target_: rankseg_med.inference.StreamingInferer, roi_size: '@roi_size'}",
            "inferer::axis stands above inferer, which replaces it; write it below",
        ),
    ],
)
def test_keys_that_nothing_knows(refusal, entry, message):
    assert message in refusal(f"extends: demo\n{entry}\n")


@pytest.mark.parametrize("job", ["train", "decode"])
def test_they_are_the_same_for_every_job(refusal, job):
    assert "did you mean cleanup?" in refusal("extends: demo\nclenaup: null\n", job)
    assert "did you mean inferer?" in refusal("extends: demo\ninferrer::overlap: 0.5\n", job)
    assert "did you mean solver?" in refusal("extends: demo\ndecoder::solvr: rma\n", job)


@pytest.mark.parametrize(
    ("job", "text"),
    [
        # Names of their own, which something refers to.
        ("inference", "window: [16, 16, 16]\ninferer::roi_size: '@window'"),
        ("inference", "windows: {small: [16, 16, 16]}\nroi_size: '@windows::small'"),
        ("inference", "window: [16, 16, 16]\nroi_size: '%window'"),
        ("train", "rounds: 4\nepochs: $@rounds * 5"),
        ("inference", "keep: {_target_: Identity}\ncleanup: {_target_: Compose, transforms: ['@keep']}"),
        # Of another job, which one overlay serves as well.
        ("inference", "optimizer::lr: 0.1\nunlabelled_batch_size: 3\n+crop: {num_samples: 2}"),
        ("train", "store: disk\ngrid: model\ndecoder::name: iou"),
        ("decode", "inferer::overlap: 0.3\noptimizer::lr: 0.1\nstore: disk"),
        # Of MONAI.
        ("inference", "bundle_root: here\n_meta_: {name: mine}\nimports: [$import torch, $import math]"),
        (
            "inference",
            "cleanup: {_target_: Compose, transforms: [], _desc_: text, _mode_: default, _requires_: '@store'}",
        ),
        ("inference", "cleanup: {_target_: nowhere.at_all, _disabled_: true}"),
        ("inference", "+preprocessing::transforms: [{_target_: ScaleIntensityd, keys: image}]"),
        # What the documentation has.
        ("inference", "inferer::roi_size: [256, 256]\ninferer::neighbours: 1\ninferer::flip_axes: all"),
        ("inference", CALIBRATION),
        ("inference", "calibration: calibration.json"),
        ("decode", "calibration: calibration.json"),
    ],
)
def test_keys_that_are_known(load, job, text):
    load(f"extends: demo\n{text}\n", job)


def test_entries_of_a_file_count_from_top_to_bottom(load):
    config = load("extends: demo\ncleanup: {_target_: rankseg_med.transforms.FillLabelHoles}\ncleanup::labels: [2]\n")
    assert config.get_parsed_content("cleanup").labels == [2]


def test_refining_what_only_another_job_has_leaves_the_settings_alone(load):
    plain, refined = load("extends: demo\n"), load("extends: demo\noptimizer::lr: 0.1\n")
    assert plain.get() == refined.get()


def test_the_file_that_holds_the_fault_is_named(load, tmp_path, refusal):
    (tmp_path / "below.yaml").write_text("extends: demo\nclenaup: null\n")
    (tmp_path / "above.yaml").write_text("extends: below.yaml\n")
    with pytest.raises(ValueError, match=r"below\.yaml: clenaup"):
        load("extends: below.yaml\n", name="above.yaml")


class TestSeveralOverlays:
    @pytest.fixture
    def files(self, tmp_path):
        (tmp_path / "mine.yaml").write_text("extends: demo\nspacing_mm: [1.0, 1.0, 2.0]\nstore: disk\n")
        (tmp_path / "over.yaml").write_text("store: memory\n")
        (tmp_path / "sibling.yaml").write_text("extends: demo\ndecoder::name: iou\n")
        return [tmp_path / f"{name}.yaml" for name in ("mine", "over", "sibling")]

    def test_later_ones_come_over_earlier_ones(self, files):
        mine, over, _ = files
        settings = load_config("inference", [mine, over], device="cpu")
        assert (settings["store"], settings["spacing_mm"]) == ("memory", [1.0, 1.0, 2.0])
        assert load_config("inference", [over, mine], device="cpu")["store"] == "disk"

    def test_what_two_extend_does_not_undo_the_first(self, files):
        """The demo has a spacing of its own, which the sibling must not bring back."""
        mine, _, sibling = files
        settings = load_config("inference", [mine, sibling], device="cpu")
        assert (settings["spacing_mm"], settings["decoder::name"]) == ([1.0, 1.0, 2.0], "iou")

    def test_none_is_the_base_alone(self):
        assert load_config("decode", []).get() == load_config("decode", None).get()

    def test_faults_of_the_whole_name_all(self, files, tmp_path):
        (tmp_path / "bad.yaml").write_text("cleanup: {_target_: rankseg_med.transforms.FillLabelHoles, labels: [3]}\n")
        with pytest.raises(ConfigError, match=r"mine\.yaml, .*bad\.yaml: cleanup::labels"):
            load_config("inference", [files[0], tmp_path / "bad.yaml"], device="cpu")
        with pytest.raises(ConfigError, match=r"over\.yaml: lacks label_names, network_def"):
            load_config("inference", [files[1]], device="cpu")


class TestWhatAJobHasNoUseFor:
    @pytest.mark.parametrize("entry", [CALIBRATION, "grid: model\n", "ensemble: decode\n"])
    def test_decode(self, refusal, entry):
        key = entry.split(":")[0]
        assert refusal("extends: demo\n" + entry, "decode").startswith(f"{key}: means nothing to decode: ")

    def test_a_calibration_that_training_does_not_fit(self, refusal, load):
        assert refusal("extends: demo\n" + CALIBRATION, "train").startswith("calibration: means nothing to train: ")
        assert "calibration: means nothing to train: " in refusal("extends: demo\ncalibration: c.json\n", "train")
        calibrated = (
            "teacher::calibration: {_target_: rankseg_med.calibration.Temperature, num_classes: '@num_classes'}\n"
        )
        load("extends: bcp_hippocampus\n" + calibrated + CALIBRATION, "train")

    @pytest.mark.parametrize("job", ["inference", "train"])
    def test_region_channels(self, refusal, job):
        message = refusal("extends: demo\nregion_channels: [[1, 2], [2]]\n", job)
        assert message.startswith(f"region_channels: means nothing to {job}: ")

    @pytest.mark.parametrize("job", ["inference", "train", "decode"])
    def test_null_says_that_there_is_none(self, load, job):
        load("extends: demo\ncalibration: null\nregion_channels: null\n", job)
