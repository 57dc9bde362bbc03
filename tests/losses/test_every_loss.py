"""What all losses of this room have in common; see tests/configuration/test_named_losses.py for MONAI's too."""

import pytest
import torch

from rankseg_med.losses import (
    BoundaryLoss,
    DistancePenalisedCELoss,
    FrequencyWeightedCELoss,
    IoUBalancedCELoss,
    LovaszSoftmaxLoss,
    SensitivitySpecificityLoss,
    SurrogateLoss,
    TopKCELoss,
    beside_labels,
)

OF_VALUES = (LovaszSoftmaxLoss, TopKCELoss, FrequencyWeightedCELoss, SensitivitySpecificityLoss)
OF_VALUES = (*OF_VALUES, BoundaryLoss, DistancePenalisedCELoss)
ALL = (*OF_VALUES, IoUBalancedCELoss)


def given(loss, spatial, dtype=torch.float32, device="cpu"):
    """Logits and what follows them."""
    torch.manual_seed(0)
    logits = torch.randn(2, 3, *spatial, dtype=torch.float64).to(device, dtype).requires_grad_()
    labels = torch.randint(0, 3, (2, 1, *spatial)).to(device, torch.uint8)
    inside = torch.nn.functional.one_hot(labels[:, 0].long(), 3).movedim(-1, 1)
    distances_mm = (1.5 + torch.rand(2, 3, *spatial, device=device)) * (1 - 2 * inside)
    return (logits, labels, distances_mm) if "distances_mm" in beside_labels(loss) else (logits, labels)


@pytest.mark.parametrize("loss", [kind() for kind in OF_VALUES], ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("spatial", [(3, 2), (2, 2, 2)])
def test_gradients_are_those_of_finite_differences(loss, spatial):
    logits, *targets = given(loss, spatial, torch.float64)
    assert torch.autograd.gradcheck(lambda values: loss(values, *targets), [logits])


@pytest.mark.parametrize("loss", [kind() for kind in ALL], ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_for_networks_alone(loss, dtype):
    logits, *targets = given(loss, (40, 40, 50), dtype)
    value = loss(logits, *targets)
    value.backward()
    assert value.dtype == torch.float32
    assert float(value.detach()) == pytest.approx(float(loss(logits.detach().float(), *targets)), rel=1e-6)
    assert logits.grad.dtype == dtype
    assert torch.isfinite(logits.grad).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(
    "loss",
    [*(kind() for kind in ALL), SurrogateLoss("Dice"), SurrogateLoss("BIoU"), SurrogateLoss("BF1")],
    ids=lambda loss: type(loss).__name__,
)
def test_the_same_on_cuda_in_mixed_precision(loss):
    logits, *targets = given(loss, (6, 7, 8))
    with torch.autocast("cuda"):
        value = loss(logits.detach().cuda(), *(target.cuda() for target in targets))
    assert float(value) == pytest.approx(float(loss(logits, *targets).detach()), rel=1e-4)
