import json

import pytest
import torch

from rankseg_med.calibration import (
    BinnedVoxels,
    CalibrationError,
    IsotonicCalibration,
    ReliabilityCounts,
    Temperature,
    load_calibration,
    save_calibration,
)


def isotonic(regions=None, independent=False):
    generator = torch.Generator().manual_seed(0)
    calibration = IsotonicCalibration(3, regions, independent=independent)
    p, labels = (
        torch.randn(3, 4000, generator=generator).mul(4).softmax(0),
        torch.randint(3, (4000,), generator=generator),
    )
    masks = torch.rand(3, 4000, generator=generator) < p
    voxels = BinnedVoxels.of_channels(p, masks) if independent else BinnedVoxels.of_classes(p, labels, regions)
    calibration.fit(ReliabilityCounts.of_case(voxels))
    return calibration


def temperature(class_biases=True):
    calibration = Temperature(3, class_biases=class_biases)
    calibration.inverse_temperature.fill_(0.7)
    calibration.bias.copy_(torch.tensor([0.0, -1.3, 0.1]) * class_biases)
    return calibration


@pytest.mark.parametrize(
    "calibration",
    [
        isotonic(),
        isotonic([[1, 2], [2]]),
        isotonic(independent=True),
        temperature(),
        temperature(False),
        Temperature(2),
    ],
)
def test_there_and_back_exactly(calibration, tmp_path):
    path = tmp_path / "calibration.json"
    save_calibration(calibration, path)
    restored = load_calibration(path)
    assert type(restored) is type(calibration)
    assert repr(restored) == repr(calibration)
    for name, tensor in calibration.state_dict().items():
        assert torch.equal(restored.state_dict()[name], tensor), name
    p = torch.randn(calibration.num_classes, 50).softmax(0)
    assert torch.equal(restored.probabilities(p), calibration.probabilities(p))
    save_calibration(restored, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_people_can_read_it(tmp_path):
    save_calibration(IsotonicCalibration(2), tmp_path / "c.json")
    assert json.loads((tmp_path / "c.json").read_text()) == {
        "version": 1,
        "num_classes": 2,
        "kind": "isotonic",
        "independent": False,
        "weighting": "cases",
        "regions": [{"labels": [1], "probability": [0.0, 1.0], "calibrated": [0.0, 1.0]}],
    }


@pytest.mark.parametrize(
    ("calibration", "change", "message"),
    [
        (isotonic(), {"kind": "platt"}, "kind"),
        (isotonic(), {"version": 2}, "version"),
        (isotonic(), {"version": None}, "version"),
        (isotonic(), {"num_classes": 2}, "a region is a set of foreground labels from 1 to 1"),
        (isotonic(), {"num_classes": "3"}, "num_classes"),
        (isotonic(), {"knots": []}, "knots"),
        (isotonic(), {"weighting": "case"}, "weighting"),
        (isotonic(), {"independent": True}, "independent channels have labels null"),
        (isotonic(), {"regions": []}, "independent channels have labels null"),
        (temperature(), {"temperature": 0.0}, "temperature"),
        (temperature(), {"bias": [0.0, 1.0]}, "bias must have 3 values, one for each class, got 2"),
        (temperature(), {"class_biases": False}, "bias must be 0 without class_biases"),
    ],
)
def test_other_entries_are_refused(calibration, change, message, tmp_path):
    path = tmp_path / "c.json"
    save_calibration(calibration, path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CalibrationError, match=rf"c\.json: .*({message})"):
        load_calibration(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"calibrated": [0.0, 0.9, 0.5]}, "holds no calibration: regions::1: calibrated values must never fall"),
        ({"calibrated": [0.0, 0.5, 1.5]}, r"regions::1: calibrated values must lie in \[0, 1\]"),
        ({"probability": [0.5, 0.5, 1.0]}, "regions::1: probabilities of knots must ascend from 0 to 1"),
        ({"probability": [0.0, 1.0]}, "regions::1: a map needs at least two knots, and a calibrated value for each"),
        ({"labels": [9]}, "a region is a set of foreground labels from 1 to 2"),
    ],
)
def test_knots_that_cannot_be(change, message, tmp_path):
    path = tmp_path / "c.json"
    save_calibration(isotonic(), path)
    content = json.loads(path.read_text())
    content["regions"][1] |= {"probability": [0.0, 0.5, 1.0], "calibrated": [0.0, 0.5, 1.0]} | change
    path.write_text(json.dumps(content))
    with pytest.raises(CalibrationError, match=message):
        load_calibration(path)


def test_no_json_and_no_file(tmp_path):
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(CalibrationError, match=r"c\.json: is no calibration of version 1 \(Invalid JSON"):
        load_calibration(tmp_path / "c.json")
    with pytest.raises(CalibrationError, match="no such calibration file"):
        load_calibration(tmp_path / "d.json")
    with pytest.raises(CalibrationError, match="is no regular file"):
        load_calibration(tmp_path)
    (tmp_path / "b.json").write_bytes(b"\xff\xfe")
    with pytest.raises(CalibrationError, match=r"b\.json: "):
        load_calibration(tmp_path / "b.json")
