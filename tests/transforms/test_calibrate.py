import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from rankseg_med.calibration import CalibrationError, IsotonicCalibration, MonotoneMap, save_calibration
from rankseg_med.transforms import CalibrateProbabilities, CalibrateProbabilitiesd


@pytest.fixture
def calibration():
    calibration = IsotonicCalibration(3)
    calibration.set_maps([MonotoneMap((0.0, 0.5, 1.0), (0.0, 0.1, 1.0))] * 2)
    return calibration


@pytest.fixture
def probabilities():
    return torch.randn(3, 6, 5, 4, generator=torch.Generator().manual_seed(0)).softmax(0)


@pytest.mark.parametrize("kind", [lambda p: p, lambda p: p.numpy(), lambda p: p.double(), lambda p: p.half()])
def test_any_kind_of_volume(calibration, probabilities, kind):
    given = kind(probabilities)
    found = CalibrateProbabilities(calibration)(given)
    assert type(found) is type(given)
    assert found.dtype in (torch.float32, np.float32)
    expected = calibration.probabilities(torch.as_tensor(given))
    torch.testing.assert_close(torch.as_tensor(found), expected)
    assert not torch.equal(expected, probabilities)


def test_metadata_stays(calibration, probabilities):
    given = MetaTensor(probabilities, affine=torch.diag(torch.tensor([2.0, 3, 4, 1])), meta={"name": "case"})
    found = CalibrateProbabilitiesd("pred", calibration)({"pred": given, "other": 1})
    assert found["other"] == 1
    assert isinstance(found["pred"], MetaTensor)
    assert found["pred"].meta["name"] == "case"
    assert torch.equal(found["pred"].affine, given.affine)
    torch.testing.assert_close(found["pred"].as_tensor(), calibration.probabilities(probabilities))
    assert torch.equal(given.as_tensor(), probabilities)


def test_a_file(calibration, probabilities, tmp_path):
    save_calibration(calibration, tmp_path / "c.json")
    for path in (tmp_path / "c.json", str(tmp_path / "c.json")):
        found = CalibrateProbabilities(path)(probabilities)
        assert torch.equal(found, calibration.probabilities(probabilities))
    with pytest.raises(CalibrationError, match="no such calibration file"):
        CalibrateProbabilities(tmp_path / "d.json")


def test_keys_that_are_absent(calibration):
    with pytest.raises(KeyError):
        CalibrateProbabilitiesd("pred", calibration)({})
    assert CalibrateProbabilitiesd("pred", calibration, allow_missing_keys=True)({}) == {}


def test_another_number_of_classes(calibration):
    with pytest.raises(ValueError, match="is of 3 classes, background included"):
        CalibrateProbabilities(calibration)(torch.rand(2, 4, 4))
