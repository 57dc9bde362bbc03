"""Bundles of others as our configs: what is taken over, and what is refused with its reason."""

import json
import sys

import pytest
import torch
from monai.transforms import KeepLargestConnectedComponent
from safetensors.torch import save_file

from rankseg_med.configuration import ConfigError, digest_of, load_bundle
from rankseg_med.inference import StreamingInferer
from rankseg_med.transforms import LoadStudyd
from tests import zoo


@pytest.fixture
def spleen(tmp_path):
    return zoo.spleen(tmp_path / "spleen")


def postprocessing(*steps):
    return {"_target_": "Compose", "transforms": [{"keys": "pred", **step} for step in steps]}


ARGMAX = {"_target_": "AsDiscreted", "argmax": True}


def metadata(bundle, **changes):
    path = bundle / "configs" / "metadata.json"
    content = json.loads(path.read_text())
    content["network_data_format"]["outputs"]["pred"] |= changes
    path.write_text(json.dumps(content))
    return bundle


class TestWhatIsTakenOver:
    def test_windows(self, tmp_path):
        config, checkpoint = load_bundle(zoo.whole_body(tmp_path / "body"), device="cpu")
        inferer = config.get_parsed_content("inferer")
        assert isinstance(inferer, StreamingInferer)
        assert (inferer.roi_size, inferer.overlap, inferer.sw_batch_size) == ((16, 16, 16), 0.25, 1)
        assert (inferer.mode, inferer.padding_mode) == ("gaussian", "replicate")
        assert config.get_parsed_content("num_classes") == 105
        assert config["label_names"][104] == "structure_104"
        assert checkpoint == tmp_path / "body" / "models" / "model.pt"

    def test_the_whole_volume_at_once(self, spleen):
        config, _ = load_bundle(zoo.edit(spleen, inferer={"_target_": "monai.inferers.SimpleInferer"}), device="cpu")
        inferer = config.get_parsed_content("inferer")
        network = torch.nn.Conv3d(1, 2, 3, padding=1)
        image = torch.rand(1, 9, 10, 11)
        slabs = list(inferer(image, network, 2))
        found = torch.cat([slab.probabilities for slab in slabs], 1)
        torch.testing.assert_close(found, network(image[None])[0].softmax(0))

    def test_images_are_loaded_as_everywhere_in_the_package(self, spleen):
        config, _ = load_bundle(spleen, device="cpu")
        names = [type(transform).__name__ for transform in config.get_parsed_content("preprocessing").transforms]
        assert names == ["LoadStudyd", "Orientationd", "Spacingd", "ScaleIntensityRanged", "EnsureTyped"]
        assert isinstance(config.get_parsed_content("preprocessing").transforms[0], LoadStudyd)

    def test_what_becomes_of_the_label_map_is_its_cleanup(self, spleen):
        steps = [ARGMAX, {"_target_": "KeepLargestConnectedComponentd", "applied_labels": [1]}, {"_target_": "Invertd"}]
        config, _ = load_bundle(zoo.edit(spleen, postprocessing=postprocessing(*steps)), device="cpu")
        (step,) = config.get_parsed_content("cleanup").transforms
        assert isinstance(step, KeepLargestConnectedComponent)
        assert step.applied_labels == (1,)

    def test_steps_that_are_disabled_are_none(self, spleen):
        steps = [{"_target_": "Lambdad", "_disabled_": True}, ARGMAX]
        config, _ = load_bundle(zoo.edit(spleen, postprocessing=postprocessing(*steps)), device="cpu")
        assert config["cleanup"] is None

    def test_changes_come_over_it(self, spleen):
        config, _ = load_bundle(spleen, device="cpu", changes={"inferer::overlap": 0.75})
        assert config.get_parsed_content("inferer").overlap == 0.75

    def test_other_weights(self, spleen):
        weights = torch.load(spleen / "models" / "model.pt", weights_only=True)
        save_file(weights, spleen / "models" / "model.safetensors")
        (spleen / "models" / "model.pt").unlink()
        assert load_bundle(spleen, device="cpu")[1] == spleen / "models" / "model.safetensors"

    def test_code_of_its_own(self, spleen, monkeypatch):
        monkeypatch.setattr(sys, "path", list(sys.path))
        (spleen / "spleen_code").mkdir()
        (spleen / "spleen_code" / "nets.py").write_text(
            "import torch\n\ndef make(classes):\n    return torch.nn.Conv3d(1, classes, 1)\n"
        )
        zoo.edit(spleen, network_def={"_target_": "spleen_code.nets.make", "classes": 2})
        assert load_bundle(spleen, device="cpu")[0].get_parsed_content("network").out_channels == 2


class TestDigest:
    def digest(self, bundle):
        return digest_of(load_bundle(bundle, device="cpu")[0].get())

    def test_only_what_makes_the_result(self, spleen):
        before = self.digest(spleen)
        zoo.edit(spleen, output_dir="elsewhere", dataset_dir="elsewhere", handlers=[])
        spleen.rename(spleen.with_name("moved"))
        assert self.digest(spleen.with_name("moved")) == before

    def test_files_beside_the_weights(self, tmp_path):
        bundle = zoo.pancreas(tmp_path / "pancreas")
        before = self.digest(bundle)
        code = torch.load(bundle / "models" / "search_code.pt", weights_only=True)
        torch.save({**code, "node_a": torch.zeros(3, 2)}, bundle / "models" / "search_code.pt")
        assert self.digest(bundle) != before


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            {"evaluator": {"_target_": "scripts.evaluator.Vista3dEvaluator"}},
            "evaluator: must be SupervisedEvaluator, which gives the network an image and nothing else, such as "
            "prompts, and takes one map of classes; got scripts.evaluator.Vista3dEvaluator",
        ),
        ({"inferer": {"_target_": "DiffusionInferer"}}, "inferer: must be SlidingWindowInferer or "),
        ({"inferer": {"_target_": "SlidingWindowInferer", "roi_size": 8, "with_coord": True}}, "with_coord"),
        ({"inferer": {"_target_": "SlidingWindowInferer", "rio_size": 8}}, "did you mean roi_size?"),
        ({"network_def": None}, "lacks network_def"),
        ({"preprocessing": "$monai.transforms.Compose([])"}, "preprocessing: must be Compose of a list of transforms"),
        ({"preprocessing": {"_target_": "Compose", "transforms": []}}, "must load the image with LoadImaged"),
        (
            {
                "preprocessing": {
                    "_target_": "Compose",
                    "transforms": [{"_target_": "LoadImaged", "keys": ["t1", "t2"]}],
                }
            },
            "preprocessing::transforms::0: must load the key image alone, got ['t1', 't2']",
        ),
        ({"postprocessing": None}, "postprocessing: must be Compose of a list of transforms, got None"),
        ({"postprocessing": postprocessing({"_target_": "SaveImaged"})}, "has no argmax (AsDiscreted)"),
        (
            {"postprocessing": postprocessing({"_target_": "Activationsd", "sigmoid": True})},
            "postprocessing::transforms::0: channels must be exclusive classes by softmax, got sigmoid=True",
        ),
        (
            {"postprocessing": postprocessing(ARGMAX, {"_target_": "Lambdad", "func": "$lambda x: x"})},
            "postprocessing::transforms::1: it is not known what Lambdad (func=$lambda x: x) does to label maps",
        ),
        ({"decoder": 2, "network_def": {"_target_": "UNet", "out_channels": "@decoder"}}, "decoder: is a name that"),
    ],
)
def test_what_does_not_fit(spleen, entries, message):
    with pytest.raises(ConfigError) as refused:
        load_bundle(zoo.edit(spleen, **entries), device="cpu")
    assert message in str(refused.value)
    assert str(refused.value).startswith(str(spleen / "configs" / "inference.json"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "probabilities", "format": "classes"}, "calls the output pred probabilities of format classes"),
        ({"format": "magnitude"}, "only bundles that segment"),
        ({"channel_def": {"0": "background"}}, "must name each of the 2 channels of pred in channel_def"),
        ({"channel_def": {"0": "x", "1": "x"}}, "label_names: must be a list of names"),
    ],
)
def test_outputs_that_are_no_classes(spleen, changes, message):
    with pytest.raises(ConfigError, match=message):
        load_bundle(metadata(spleen, **changes), device="cpu")


def test_folders_that_are_no_bundles(tmp_path):
    with pytest.raises(ConfigError, match="is no MONAI Bundle that predicts"):
        load_bundle(tmp_path)


def test_weights_that_are_not_there(spleen):
    (spleen / "models" / "model.pt").rename(spleen / "models" / "model.ts")
    with pytest.raises(ConfigError, match=r"model\.ts is a TorchScript program, not weights: predict with --network"):
        load_bundle(spleen)
    (spleen / "models" / "model.ts").unlink()
    with pytest.raises(ConfigError, match=r"there are no weights .*model\.pt; download the whole bundle"):
        load_bundle(spleen)
    (spleen / "large_files.yml").write_text("large_files: []")
    with pytest.raises(ConfigError, match="download_large_files"):
        load_bundle(spleen)
