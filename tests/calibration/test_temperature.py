import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rankseg_med.calibration import LabelledVoxels, Temperature, draw_voxels


def every_outcome(logits, probabilities):
    """Each voxel once with each class for its label, weighted by the class's probability: the expected likelihood."""
    voxels, classes = logits.shape
    labels = torch.arange(classes).repeat(voxels)
    return LabelledVoxels(logits.repeat_interleave(classes, 0), labels, probabilities.flatten())


def voxels(logits, labels):
    return LabelledVoxels(logits, labels, torch.ones(len(labels)))


@pytest.mark.parametrize(("temperature", "bias"), [(1.0, [0.0, 0.0]), (2.5, [-1.0, 0.3]), (0.4, [2.0, -3.0])])
def test_finds_what_was_done_to_the_logits(temperature, bias):
    # The expected negative log-likelihood is smallest where the probabilities are the true ones (Gibbs' inequality).
    logits = 3 * torch.randn(2000, 3, generator=torch.Generator().manual_seed(0))
    truth = (logits / temperature + torch.tensor([0.0, *bias])).softmax(1)
    calibration = Temperature(3)
    calibration.fit(every_outcome(logits, truth))
    assert calibration.temperature == pytest.approx(temperature, rel=1e-3)
    torch.testing.assert_close(calibration.bias, torch.tensor([0.0, *bias]), atol=2e-3, rtol=0)
    torch.testing.assert_close(calibration(logits.T[None]).softmax(1)[0].T, truth, atol=1e-3, rtol=0)


def test_calibrated_probabilities_add_up_to_the_number_of_voxels_of_each_class():
    # The condition of the minimum with respect to the biases.
    generator = torch.Generator().manual_seed(1)
    logits = 5 * torch.randn(500, 4, generator=generator)
    labels = torch.randint(4, (500,), generator=generator)
    calibration = Temperature(4)
    calibration.fit(voxels(logits, labels))
    summed = calibration(logits.T[None]).softmax(1)[0].sum(1)
    torch.testing.assert_close(summed, labels.bincount().float(), atol=0.05, rtol=0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5), st.floats(0.01, 50))
def test_never_less_likely_than_before(seed, classes, scale):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(100, classes, generator=generator)
    labels = torch.cat([torch.arange(classes), torch.randint(classes, (100 - classes,), generator=generator)])
    calibration = Temperature(classes)
    calibration.fit(voxels(logits, labels))
    after = torch.nn.functional.cross_entropy(calibration(logits.T[None])[0].T, labels)
    assert after <= torch.nn.functional.cross_entropy(logits, labels) + 1e-5


def test_a_fresh_one_changes_nothing():
    logits = torch.randn(2, 3, 4, 5)
    assert torch.equal(Temperature(3)(logits), logits)


def test_a_temperature_alone_leaves_argmax_as_it_is():
    logits = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(3, (200,), generator=torch.Generator().manual_seed(1))
    calibration = Temperature(3, class_biases=False)
    calibration.fit(voxels(logits, labels))
    assert calibration.temperature > 2
    assert torch.equal(calibration.bias, torch.zeros(3))
    assert torch.equal(calibration(logits.T[None])[0].argmax(0), logits.argmax(1))


def test_classes_that_are_told_apart_without_error_have_a_calibration_too():
    calibration = Temperature(2)
    calibration.fit(voxels(torch.tensor([[2.0, -2.0], [-2.0, 2.0]]), torch.tensor([0, 1])))
    assert 0.01 <= calibration.temperature < 1
    assert calibration.bias.isfinite().all()


def test_logits_that_say_the_opposite_are_not_listened_to():
    calibration = Temperature(2)
    calibration.fit(voxels(torch.tensor([[2.0, -2.0], [-2.0, 2.0]]), torch.tensor([1, 0])))
    assert calibration.temperature == pytest.approx(100)


def test_before_windows_are_averaged_or_after():
    calibration = Temperature(3)
    calibration.fit(every_outcome(torch.randn(50, 3), torch.rand(50, 3).softmax(1)))
    first, second = torch.randn(2, 1, 3, 4, 4)
    averaged = 0.3 * calibration(first) + 0.7 * calibration(second)
    torch.testing.assert_close(calibration(0.3 * first + 0.7 * second), averaged)


def test_it_is_kept_with_the_weights():
    calibration, restored = Temperature(3), Temperature(3)
    calibration.fit(every_outcome(torch.randn(50, 3), torch.rand(50, 3).softmax(1)))
    restored.load_state_dict(calibration.state_dict())
    assert restored.temperature == calibration.temperature != 1
    assert not list(calibration.parameters())


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(3, 2), torch.tensor([0, 0, 0]), "classes 1 do not occur"),
        (torch.zeros(3, 3), torch.tensor([0, 1, 2]), "of 2 classes, got logits of 3"),
        (torch.tensor([[0.0, -torch.inf], [0, 0]]), torch.tensor([0, 1]), "must be finite"),
    ],
)
def test_what_cannot_be_calibrated_on(logits, labels, message):
    calibration = Temperature(2)
    with pytest.raises(ValueError, match=message):
        calibration.fit(voxels(logits, labels))
    assert calibration.temperature == 1


def test_one_class_is_none():
    with pytest.raises(ValueError, match="at least 2, background included; got 1"):
        Temperature(1)


def test_labels_of_another_grid_are_refused(wrong_types):
    """Flattened, they would be paired with voxels elsewhere."""
    logits = torch.zeros(2, 3, 4, 5)
    with pytest.raises(ValueError, match=r"logits' shape \(3, 4, 5\), got \(5, 4, 3\)"):
        draw_voxels(logits, torch.zeros(5, 4, 3, dtype=torch.long))
    with pytest.raises(ValueError, match="this calibration is of 3 classes"):
        Temperature(3).observe(logits, torch.zeros(3, 4, 5, dtype=torch.long))
