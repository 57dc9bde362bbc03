import pytest

from tests.networks.given_transformers import REASON

KEEP = "rankseg_med.transforms.KeepLargestComponent"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("network_def::chanels: [8, 16]", "network_def::chanels: UNet has no argument chanels; did you mean channels?"),
        ("intensity::a_mni: 3", "intensity::a_mni: ScaleIntensityRanged has no argument a_mni; did you mean a_min?"),
        (f"cleanup: {{_target_: {KEEP}, lables: [1]}}", "cleanup::lables: "),
        (f"cleanup: {{_target_: {KEEP}, _taget_: x}}", "_taget_; did you mean _target_?"),
        (
            f"cleanup: {{_target_: Compose, transforms: [{{_target_: {KEEP}, lables: [1]}}]}}",
            f"cleanup::transforms::0::lables: {KEEP} has no argument lables; did you mean labels?",
        ),
        (
            f"cleanup: {{_target_: Compose, transforms: [{{_targt_: {KEEP}}}]}}",
            "cleanup::transforms::0::_targt_: there is no such key; did you mean _target_?",
        ),
        # Options that a function hands on.
        (
            "decoder::solvr: rma",
            "decoder::solvr: rankseg_med.decode.make_decoder has no argument solvr; did you mean solver?",
        ),
        ("network_def::_target_: UNett", "network_def::_target_: there is no UNett; did you mean UNet?"),
        ("cleanup::_target_: KeepLargestComponent", f"did you mean {KEEP}?"),
        (f"cleanup::_target_: {KEEP[:-1]}", f"did you mean {KEEP}?"),
        ("cleanup::_target_: rankseg_med.transfroms.KeepLargestComponent", f"did you mean {KEEP}?"),
        ("cleanup::_target_: no_such_package.Thing", "there is no no_such_package.Thing; write its full path"),
        ("cleanup::_target_: 3", "cleanup::_target_: must be the name of a class or function, got 3"),
        # Arguments that take one of a few words.
        ("decoder::name: dcie", "decoder::name: must be dice or iou or argmax, got dcie; did you mean dice?"),
        ("decoder::name: [dice, iuo]", "decoder::name: must be dice or iou or argmax, got iuo; did you mean iou?"),
        ("decoder::assignment: asent", "did you mean ascent?"),
        (
            "inferer::mode: gausian",
            "inferer::mode: must be constant or gaussian, got gausian; did you mean gaussian?",
        ),
        (
            "preprocessing::transforms::2::mode: biliner",
            "preprocessing::transforms::2::mode: must be bilinear or nearest",
        ),
        ("inferer: null", "inferer: must be a component (an entry with a _target_), got None"),
        ("network_def: UNet", "network_def: must be a component (an entry with a _target_), got 'UNet'"),
        ("cleanup: [1]", "cleanup: must be a component (an entry with a _target_) or null, got [1]"),
    ],
)
def test_targets_and_arguments(refusal, entry, message):
    assert message in refusal(f"extends: demo\n{entry}\n")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("method::pseudo_wight: 1", "method::pseudo_wight: "),
        (
            "teacher::buffers: avrage",
            "teacher::buffers: must be average or copy or own, got avrage; did you mean average?",
        ),
        (
            "pseudo_labeller::decoder: ranseg",
            "pseudo_labeller::decoder: must be argmax or threshold or rankseg, got ranseg",
        ),
        (
            "teacher::calibration: {_target_: rankseg_med.calibration.Temperature, num_clases: 3}",
            "did you mean num_classes?",
        ),
        ("optimizer::learning_rate: 3", "optimizer::learning_rate: torch.optim.AdamW has no argument learning_rate"),
    ],
)
@pytest.mark.parametrize("job", ["inference", "train"])
def test_entries_of_training_are_looked_at_by_every_job(refusal, job, entry, message):
    assert message in refusal(f"extends: bcp_hippocampus\n{entry}\n", job)


@pytest.mark.parametrize(
    "entry",
    [
        "decoder: {_target_: rankseg_med.decode.make_decoder, name: [dice, iou], solver: rma, smooth: 1.0}",
        "cleanup: {_target_: builtins.dict, anything: 1}",
        "cleanup: {_target_: $@maker, anything: 1}\nmaker: '$lambda anything: None'",
        "cleanup: $None",
        "my_mode: gaussian\ninferer::mode: '@my_mode'",
    ],
)
def test_what_takes_anything_or_is_not_known_before_it_is_built(load, entry):
    load(f"extends: demo\n{entry}\n")


def test_a_target_of_an_extra_that_is_not_installed(refusal, monkeypatch):
    monkeypatch.setattr("rankseg_med.configuration.components.find_spec", lambda name: None)
    message = refusal("extends: demo\nnetwork_def::_target_: transformers.NotThere\n")
    assert "transformers.NotThere needs transformers, which is not installed" in message
    assert "pip install 'rankseg_med[transformers]'" in message


def test_arguments_of_transformers(load, refusal):
    """Their configs take `num_labels`, which their signatures lack."""
    pytest.importorskip("transformers", reason=REASON)
    entry = (
        "extends: demo\nnetwork_def: {{_target_: transformers.SegformerForSemanticSegmentation, "
        "config: {{_target_: transformers.SegformerConfig, {}: 3}}}}\n"
    )
    load(entry.format("num_labels"))
    assert "SegformerConfig has no argument num_label; did you mean num_labels?" in refusal(entry.format("num_label"))
