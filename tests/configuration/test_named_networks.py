import pytest
import torch

from rankseg_med.configuration import load_config
from rankseg_med.configuration.named_networks import NETWORKS
from rankseg_med.configuration.parser import Config


@pytest.mark.parametrize("spatial", [(32, 16), (16, 16, 32)], ids=["2-D", "3-D"])
@pytest.mark.parametrize("name", NETWORKS.components)
def test_every_name_maps_windows_to_logits(name, spatial):
    settings = {"roi_size": list(spatial), "channels": 2, "num_classes": 3, "network_def": NETWORKS.expanded(name)}
    network = Config(settings).get_parsed_content("network_def").eval()
    with torch.inference_mode():
        assert network(torch.zeros(1, 2, *spatial)).shape == (1, 3, *spatial)


def test_one_line_serves_training_and_prediction(load):
    text = "extends: hippocampus\nnetwork: {unet: {channels: [4, 8], strides: [2]}}\nnetwork_def::norm: BATCH\n"
    trained, predicting = (load(text, job).get_parsed_content("network") for job in ("train", "inference"))
    assert predicting.load_state_dict(trained.state_dict())
    assert trained.training
    assert not predicting.training
    assert isinstance(predicting.model[0].conv.unit0.adn.N, torch.nn.BatchNorm3d)


def test_names_do_without_a_network_below(load):
    text = "label_names: [a, b]\nspacing_mm: [1, 1, 1]\nroi_size: [16, 16, 16]\nnetwork: unet\n"
    assert load(text + "intensity: {_target_: Identityd, keys: image}\n")["network_def"]["_target_"] == "UNet"


def test_the_command_line_names_them_too():
    config = load_config("train", "demo", device="cpu", changes={"network": "segresnet", "loss": "lovasz"})
    assert (config["network_def::_target_"], config["network_def::init_filters"]) == ("SegResNet", 16)
    assert config["loss"] == {"_target_": "rankseg_med.losses.LovaszSoftmaxLoss"}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("network: unett", "network: there is no network unett; did you mean unet?"),
        ("network: {unet: , vnet: }", "network: must name one network, got unet, vnet"),
        ("network: {}", "network: must name one network, got none"),
        ("network: {unet: 3}", "network::unet: must hold arguments of UNet, got 3"),
        (
            "network: {unet: {chanels: [8]}}",
            "network_def::chanels: UNet has no argument chanels; did you mean channels?",
        ),
        (
            "network: unet\nnetwork_def: {_target_: UNet}",
            "network: stands for network_def, which stands there too; leave one of them out",
        ),
        (
            "network_def::norm: BATCH\nnetwork: unet",
            "network_def::norm stands above network_def, which replaces it; write it below",
        ),
    ],
)
@pytest.mark.parametrize("job", ["train", "inference"])
def test_what_cannot_be_meant(refusal, job, entry, message):
    assert message in refusal(f"extends: demo\n{entry}\n", job)


def test_references_and_components_are_as_ever(load):
    made = load("extends: demo\nnetwork: $@network_def.double()\n").get_parsed_content("network")
    assert next(made.parameters()).dtype == torch.float64
    assert load("extends: demo\nnetwork: {_target_: torch.nn.Identity}\n").get_parsed_content("network")
