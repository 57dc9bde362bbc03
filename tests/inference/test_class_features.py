import numpy as np
import pytest
import torch

from rankseg_med.inference import InferenceError, StreamingInferer, class_features

INFERER = StreamingInferer((4, 4, 4), overlap=0.0)


def linear(inputs, outputs, weight, bias):
    layer = torch.nn.Conv3d(inputs, outputs, 1)
    layer.weight.data = torch.tensor(weight).reshape(layer.weight.shape)
    layer.bias.data = torch.tensor(bias)
    return layer


# Two features, v and 1 - 2 v; the classes' logits are 0, 10 (v - 2) and -100.
FEATURES = linear(1, 2, [1.0, -2.0], [0.0, 1.0])
CLASSES = linear(2, 3, [0.0, 0.0, 10.0, 0.0, 0.0, 0.0], [0.0, -20.0, -100.0])


def test_features_are_averaged_over_the_voxels_of_each_class():
    image = torch.ones(1, 8, 4, 4)
    image[:, 4:] = 3
    image[:, 0, 0, 0] = 5
    found = class_features(image, torch.nn.Sequential(FEATURES, CLASSES), INFERER, 3)
    mean = (64 * 3 + 5) / 65
    np.testing.assert_allclose(found, [[1, -1], [mean, 1 - 2 * mean], [np.nan, np.nan]], rtol=1e-6)


def test_the_layers_that_end_in_the_classes_are_one():
    """As in MONAI's UNet: what comes before the first of them counts, on a grid of its own."""
    last = linear(3, 3, np.eye(3, dtype=np.float32).tolist(), [0.0, 0.0, 0.0])
    upsampled = torch.nn.Sequential(
        torch.nn.AvgPool3d(2), FEATURES, CLASSES, torch.nn.Upsample(scale_factor=2), last, torch.nn.Identity()
    )
    image = torch.ones(1, 4, 4, 4)
    image[:, 2:] = 3
    found = class_features(image, upsampled, INFERER, 3)
    np.testing.assert_allclose(found, [[1, -1], [3, -5], [np.nan, np.nan]], rtol=1e-6)


def test_a_network_without_such_a_layer_is_refused():
    with pytest.raises(InferenceError, match="must end in a convolution with 3 outputs"):
        class_features(torch.ones(1, 4, 4, 4), lambda_module(lambda x: x.expand(-1, 3, -1, -1, -1)), INFERER, 3)


def lambda_module(function):
    module = torch.nn.Module()
    module.forward = function
    return module
