import pickle

import pytest

from rankseg_med.configuration.config import Config, ConfigError, load_config


@pytest.mark.parametrize(
    ("entry", "asked", "message"),
    [
        (
            "network_def::channels: [8]",
            "network",
            "network_def: UNet cannot be built: the length of `channels` should be",
        ),
        (
            "network_def: {_target_: UNet, spatial_dims: 3}",
            "network",
            "network_def: UNet cannot be built: UNet.__init__() missing 4 required positional arguments: 'in_channels'",
        ),
        (
            "preprocessing::transforms::3: {_target_: CropForegroundd, keys: image}",
            "preprocessing",
            "preprocessing::transforms::3: CropForegroundd cannot be built: ",
        ),
        ("network: $@network_def.too(@device)", "network", "network: $@network_def.too(@device) cannot be evaluated: "),
        ("network: $missing", "network", "network: $missing cannot be evaluated: NameError: name 'missing' is not"),
        (
            "decoder::min_peak: 3",
            "decoder",
            "decoder: rankseg_med.decode.make_decoder cannot be built: min_peak must lie",
        ),
        ("network: '@other'\nother: '@network'", "network", "other: detected circular references 'network'"),
        ("store: disk", "strore", "strore: there is no such entry; did you mean store?"),
    ],
)
def test_the_reason_and_the_entry_that_it_stands_at(load, entry, asked, message):
    config = load(f"extends: demo\n{entry}\n")
    with pytest.raises(ConfigError) as refused:
        config.get_parsed_content(asked)
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_errors_of_other_libraries_are_not_whole_tracebacks(load):
    config = load("extends: demo\nimports: [$import no_such_module]\nnetwork: $no_such_module.make(@network_def)\n")
    with pytest.raises(ConfigError, match="No module named 'no_such_module'") as refused:
        config.get_parsed_content("network")
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_errors_go_from_process_to_process():
    with pytest.raises(ConfigError) as refused:
        Config({"cleanup": {"_target_": "Compose", "transfroms": []}}).get_parsed_content("cleanup")
    sent = pickle.loads(pickle.dumps(refused.value))  # noqa: S301 - of our own
    assert (type(sent), str(sent)) == (ConfigError, str(refused.value))


def test_entries_are_set_within_what_is_there():
    config = load_config("inference", "demo", device="cpu")
    config["decoder::name"] = "iou"
    assert config.get_parsed_content("decoder").metric == "iou"
    for id, message in {
        "decodr::name": "decodr::name: there is no decodr in the config; did you mean decoder",
        "store::place": "store::place: store is 'memory' and has no place",
        "label_names::7": "label_names::7: label_names has 3 entries, numbered from 0, but none that is 7",
    }.items():
        with pytest.raises(ConfigError, match=message):
            config[id] = 1
