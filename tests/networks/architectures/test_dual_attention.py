import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rankseg_med.networks.architectures import ChannelAttention, PositionAttention


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_attention_starts_with_what_it_is_given():
    features = torch.randn(2, 16, 3, 4, 5)
    for attention in (PositionAttention(3, 16), ChannelAttention()):
        assert torch.equal(attention(features), features)
        assert [name for name, _ in attention.named_parameters() if "scale" in name] == ["scale"]


def pooled_by_two(features):
    """Means of cells of two voxels along each axis."""
    return features.unfold(2, 2, 2).unfold(3, 2, 2).mean((-2, -1))


@pytest.mark.parametrize(("key_grid", "pooled"), [(8, lambda features: features), (3, pooled_by_two)])
def test_positions_attend_as_the_formula_says(key_grid, pooled):
    attention = PositionAttention(2, 16, key_grid).double()
    attention.scale.data.fill_(0.7)
    features = torch.randn(2, 16, 6, 6, dtype=torch.float64)

    def linear(layer, inputs):
        bias = torch.zeros(()) if layer.bias is None else layer.bias[:, None]
        return layer.weight.flatten(1) @ inputs.flatten(2) + bias

    query = linear(attention.query, features)
    key, value = (linear(layer, pooled(features)) for layer in (attention.key, attention.value))
    weights = torch.exp(torch.einsum("bcj,bci->bji", query, key))
    weights = weights / weights.sum(-1, keepdim=True)
    expected = features + 0.7 * torch.einsum("bji,bci->bcj", weights, value).reshape(features.shape)
    torch.testing.assert_close(attention(features), expected)


def test_channels_attend_as_the_formula_says():
    attention = ChannelAttention()
    attention.scale.data.fill_(0.5)
    features = 0.3 * torch.randn(1, 3, 2, 2, 2)
    a = features.flatten(2)[0].tolist()
    expected = torch.empty(3, 8)
    for j in range(3):
        alike = [sum(x * y for x, y in zip(a[j], a[i], strict=True)) for i in range(3)]
        weights = torch.tensor(alike).exp() / torch.tensor(alike).exp().sum()
        for voxel in range(8):
            expected[j, voxel] = a[j][voxel] + 0.5 * sum(float(weights[i]) * a[i][voxel] for i in range(3))
    torch.testing.assert_close(attention(features)[0].flatten(1), expected)


class LargestTensor(TorchDispatchMode):
    """The most elements of any tensor that is made meanwhile."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple) else (made,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return made


def test_memory_is_linear_in_the_voxels():
    """A window of 256 x 256 x 128 voxels at stride 4."""
    voxels, channels = 64 * 64 * 32, 32
    with torch.device("meta"):
        attention, features = PositionAttention(3, channels), torch.zeros(1, channels, 64, 64, 32)
    with LargestTensor() as largest:
        attended = attention(features)
    assert attended.shape == features.shape
    assert voxels * channels <= largest.elements <= voxels * 8**3 < voxels**2 // 200
