import pytest
import torch
from monai.networks.nets import ResNetFeatures

from rankseg_med.networks.architectures import DeepLabV3, FeatureEncoder, PANet, SegResFeatures


def test_levels_double_in_channels_and_stride_as_told():
    encoder = SegResFeatures(2, 3, width=4, strides=[2, (1, 3)])
    assert encoder.channels == (4, 8, 16)
    assert encoder.strides == ((1, 1), (2, 2), (2, 6))
    shapes = [tuple(feature.shape) for feature in encoder(torch.zeros(2, 3, 11, 13))]
    assert shapes == [(2, 4, 11, 13), (2, 8, 6, 7), (2, 16, 6, 3)]


def test_a_level_does_not_look_along_axes_that_it_does_not_stride():
    encoder = SegResFeatures(2, 1, width=2, strides=[(2, 1)])
    shapes = {name: tuple(weight.shape[2:]) for name, weight in encoder.named_parameters() if weight.ndim == 4}
    assert {shape for name, shape in shapes.items() if not name.startswith("layers.1")} == {(3, 1)}
    assert {shape for name, shape in shapes.items() if name.startswith("layers.1")} == {(3, 3)}


@pytest.mark.parametrize("stride", [0, (2, 2, 2), (2, 0)])
def test_strides_that_are_none_are_refused(stride):
    with pytest.raises(ValueError, match="a stride must be a whole number from 1 on, or one for each of 2 axes, got"):
        SegResFeatures(2, 1, strides=[stride])


@pytest.mark.parametrize("network", [PANet, DeepLabV3])
def test_an_encoder_of_monai_in_its_own_right(network):
    resnet = ResNetFeatures("resnet10", pretrained=False, spatial_dims=2, in_channels=1)
    encoder = FeatureEncoder(resnet, (64, 64, 128, 256, 512), (2, 4, 8, 16, 32), spatial_dims=2)
    logits = network(2, 1, 3, encoder=encoder)(torch.randn(1, 1, 35, 45))
    assert logits.shape == (1, 3, 35, 45)


def test_features_must_be_what_they_are_said_to_be():
    features = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 1))
    with pytest.raises(ValueError, match="channels and strides must be of the same features"):
        FeatureEncoder(features, (4,), (1, 2), spatial_dims=2)

    class Listed(torch.nn.Module):
        def forward(self, images):
            return [images, images]

    with pytest.raises(ValueError, match=r"must have \(1, 2\) channels, got \(1, 1\)"):
        FeatureEncoder(Listed(), (1, 2), (1, 1), spatial_dims=2)(torch.zeros(1, 1, 4, 4))


def test_strides_must_be_what_they_are_said_to_be():
    resnet = ResNetFeatures("resnet10", pretrained=False, spatial_dims=2, in_channels=1)
    encoder = FeatureEncoder(resnet, (64, 64, 128, 256, 512), (1, 2, 4, 8, 16), spatial_dims=2)
    with pytest.raises(
        ValueError, match=r"those of the image, \(64, 64\), .* strides, \(1, 1\), got \(32, 32\); set strides"
    ):
        encoder(torch.zeros(1, 1, 64, 64))
