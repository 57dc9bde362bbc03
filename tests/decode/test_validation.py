import pytest
import torch

from rankseg_med.decode import check_probabilities
from tests.decode.decoders import independent

GOOD = torch.softmax(torch.randn(3, 6, 6, 6, generator=torch.Generator().manual_seed(0)), 0)


def with_value(value: float) -> torch.Tensor:
    bad = GOOD.clone()
    bad[1, 2, 3, 4] = value
    return bad


@pytest.mark.parametrize(
    ("probabilities", "error", "message"),
    [
        (torch.randn(3, 6, 6, 6) * 5, ValueError, "look like logits: apply torch.softmax"),
        (torch.sigmoid(GOOD), ValueError, "was the softmax missing, a sigmoid used"),
        (with_value(float("nan")), ValueError, "got NaN or infinite"),
        (with_value(float("inf")), ValueError, "got NaN or infinite"),
        (with_value(-0.2), ValueError, r"must lie in \[0, 1\], got values from -0.2"),
        (GOOD[:1], ValueError, "at least two classes, got shape \\(1, 6, 6, 6\\)"),
        (GOOD[:, :0], ValueError, "at least one voxel"),
        (GOOD[0, 0, 0], ValueError, "class axis and at least one spatial axis"),
        (GOOD.argmax(0), TypeError, "floating-point tensor, got torch.int64; was a label map passed"),
        (GOOD.numpy(), TypeError, "floating-point tensor, got ndarray"),
        (torch.full((300, 4), 1 / 300), ValueError, "at most 256 classes"),
        (GOOD.movedim(0, -1), ValueError, "is the class axis not the first"),
    ],
)
@pytest.mark.usefixtures("wrong_types")
def test_what_is_not_a_probability_volume_is_named(probabilities, error, message):
    with pytest.raises(error, match=message):
        check_probabilities(probabilities)
    with pytest.raises(error, match=message):
        independent()(probabilities)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_rounding_of_every_dtype_passes(dtype):
    check_probabilities(torch.softmax(torch.randn(15, 4000), 0).to(dtype))
