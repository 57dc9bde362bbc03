import pytest


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("store: dsk", "store: must be memory or disk, got 'dsk'; did you mean disk?"),
        ("ensemble: men", "ensemble: must be mean or decode, got 'men'; did you mean mean?"),
        ("grid: natve", "grid: must be native or model, got 'natve'; did you mean native?"),
        ("grid: null", "grid: must be native or model, got None"),
        ("store_folder: 3", "store_folder: must be the path of a folder, or null, got 3"),
        *(
            (f"spacing_mm: {value}", "spacing_mm: must be three numbers above 0, in mm, got ")
            for value in ("[0, 1, 1]", "[1, -1, 1]", "[.nan, 1, 1]", "[.inf, 1, 1]", "[1, 1]", "1", "[1, 1, a]", "null")
        ),
        *(
            (f"roi_size: {value}", "whole numbers of at least 1")
            for value in ("[0, 8, 8]", "[8, -1, 8]", "8", "[8, 8, 8.5]", "[8]", "$[8, 8, 0]")
        ),
        *(
            (f"inferer::overlap: {value}", "inferer::overlap: must be a number from 0 to below 1, or one for each axis")
            for value in ("1", "1.5", "-0.1", "[0.5, 1, 0]", ".nan", "half")
        ),
        ("inferer::sw_batch_size: 0", "inferer::sw_batch_size: must be a whole number of at least 1, got 0"),
        ("inferer::device: cupa", "inferer::device: device must be cpu, cuda or cuda:N, got cupa; there are: cpu"),
        *(
            (f"label_names: {value}", "label_names: must be a list of names")
            for value in ("[]", "[a]", "[a, a]", "[a, '']", "abc", "null", "[a, yes]", "[a, 1]")
        ),
        ("structures: [liver]", "structures: must be null, or hold an entry for each name"),
        ("structures: {organ: {colour: [0, 0, 256]}}", "structures: organ::colour::2: "),
        ("structures: {organ: {code: 1}}", "structures: organ::code: "),
        ("num_workers: -1", "num_workers: must be a whole number of at least 0, got -1"),
        ("epochs: 0", "epochs: must be a whole number of at least 1, got 0"),
        ("epochs: true", "epochs: must be a whole number of at least 1, got True"),
        ("epochs: 2.5", "epochs: must be a whole number of at least 1, got 2.5"),
        ("epochs: '30'", "got '30', which is text: write numbers without quotes"),
        ("iterations_per_epoch: -5", "iterations_per_epoch: must be a whole number of at least 1, got -5"),
        ("few: 0\nbatch_size: '@few'", "batch_size: must be a whole number of at least 1, got 0"),
        ("validate_every: 0", "validate_every: must be"),
        ("cache_rate: 1.01", "cache_rate: must be a number from 0 to 1, got 1.01"),
        ("channels: 0", "channels: must be"),
        ("num_classes: 1", "num_classes: must be a whole number of at least 2, got 1"),
        ("learning_rate: 1e-3", "got '1e-3', which is text: write numbers without quotes, and 1e-3 as 1.0e-3"),
        ("learning_rate: 0", "learning_rate: must be a number above 0, got 0"),
    ],
)
@pytest.mark.parametrize("job", ["inference", "train"])
def test_values_that_cannot_be(refusal, job, entry, message):
    assert message in refusal(f"extends: demo\n{entry}\n", job)


def test_training_has_windows_of_three_axes(refusal):
    assert "roi_size: must be three whole numbers of at least 1" in refusal(
        "extends: demo\nroi_size: [64, 64]\n", "train"
    )


@pytest.mark.parametrize(
    "entry",
    [
        "store_folder: /tmp",
        "inferer::overlap: [0, 0.5, 0.75]",
        "inferer::device: cpu",
        "roi_size: $(16, 16, 16)",
        "roi_size: [64, 64]",
        "spacing_mm: $np.ones(3)",
        "num_workers: 0\ncache_rate: 0",
        "cache_rate: 1",
        "label_names: [background, 'yes']",
    ],
)
def test_values_at_their_bounds(load, entry):
    load(f"extends: demo\ncleanup: null\n{entry}\n")


def test_expressions_become_what_they_come_to(load):
    config = load(
        "extends: demo\nrounds: 4\nepochs: $@rounds * 5\nnames: [a, b]\nlabel_names: '@names'\ncleanup: null\n"
    )
    assert config["epochs"] == 20
    assert config["label_names"] == ["a", "b"]


def test_nothing_large_is_built(load):
    """Of a value that only a component tells, here the number of a network's parameters, nothing is known yet."""
    config = load(
        "extends: demo\nnetwork_def::channels: [8, -16, 32, 48]\nchannels: $-len(list(@network.parameters()))\n"
    )
    assert config["channels"].startswith("$")
