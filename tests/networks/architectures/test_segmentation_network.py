"""What all architectures have in common."""

import pytest
import torch
from monai.losses import DiceCELoss

from rankseg_med.losses import DualTaskLoss
from rankseg_med.networks.architectures import (
    DANet,
    DeepLabV3,
    FastFCN,
    GatedSCNN,
    PANet,
    PSPNet,
    SegmentationNetwork,
    SegResFeatures,
)

NETWORKS = (PANet, DANet, FastFCN, DeepLabV3, GatedSCNN, PSPNet)
DEEP = (PANet, FastFCN, GatedSCNN)
"""Those whose encoder ends at stride 8; that of the others ends at 4."""


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def smallest(network):
    return 9 if network in DEEP else 5


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("size", [(13, 22), (9, 14, 11), (16, 8, 8)])
def test_any_size_gives_logits_of_every_voxel(network, size):
    logits = network(len(size), in_channels=2, out_channels=3)(torch.randn(1, 2, *size))
    assert logits.shape == (1, 3, *size)
    assert logits.std() > 0


@pytest.mark.parametrize("network", NETWORKS)
def test_one_axis_longer_than_the_coarsest_stride_is_enough(network):
    length = smallest(network)
    built = network(3, 1, 2).train()
    assert built(torch.randn(1, 1, length, 1, 1)).shape == (1, 2, length, 1, 1)
    with pytest.raises(ValueError, match=f"longer than the encoder's coarsest stride .*{length - 1}.*, got"):
        built(torch.randn(1, 1, length - 1, 3, length - 1))


@pytest.mark.parametrize("network", NETWORKS)
def test_slices_that_are_few_are_not_strided_over(network):
    encoder = SegResFeatures(3, 1, width=4, strides=[(2, 2, 1), (2, 2, 1)])
    assert encoder.strides == ((1, 1, 1), (2, 2, 1), (4, 4, 1))
    assert [feature.shape[2:] for feature in encoder(torch.randn(1, 1, 17, 8, 5))] == [(17, 8, 5), (9, 4, 5), (5, 2, 5)]
    logits = network(3, 1, 2, encoder=encoder)(torch.randn(1, 1, 17, 8, 5))
    assert logits.shape == (1, 2, 17, 8, 5)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_every_parameter_learns(network, spatial_dims):
    built = network(spatial_dims, 1, 3)
    for name, parameter in built.named_parameters():
        if name.endswith(".scale"):  # at 0, where it starts, what it scales learns nothing
            torch.nn.init.ones_(parameter)
    size = (16,) * spatial_dims
    loss = torch.nn.functional.cross_entropy(built(torch.randn(2, 1, *size)), torch.randint(0, 3, (2, *size)))
    loss.backward()
    assert [name for name, parameter in built.named_parameters() if not parameter.grad.abs().max() > 0] == []


@pytest.mark.parametrize("network", NETWORKS)
def test_an_image_is_predicted_as_it_would_be_alone(network):
    built = network(2, 1, 2).train()
    images = torch.randn(2, 1, 16, 16)
    torch.testing.assert_close(built(images)[:1], built(images[:1]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_default_has_less_than_a_million_parameters_in_3d(network):
    with torch.device("meta"):
        built = network(3, 1, 3)
    assert sum(parameter.numel() for parameter in built.parameters()) < 1_000_000


def of_encoder(*channels):
    """Of `SegResFeatures` in 2-D: each block has two norms (scale and shift) and two convolutions, none with a bias."""
    blocks = sum(2 * (c * c * 9) + 2 * (c + c) for c in channels)
    between = sum(c * 2 * c * 9 for c in channels[:-1])
    return 1 * channels[0] * 9 + blocks + between


def conv(inputs, outputs, side):
    """Convolution with a bias."""
    return inputs * outputs * side**2 + outputs


def normed(inputs, outputs, side):
    """Convolution without one, whose norm has scale and shift."""
    return inputs * outputs * side**2 + 2 * outputs


CLASSIFIER = conv(32, 3, 1)
PYRAMID_OF_64 = normed(64, 32, 1) + 3 * normed(64, 32, 3) + conv(64, 32, 1)
GATES = [
    2 * normed(8, 8, 3) + conv(guide, 1, 1) + normed(8 + 1, 8 + 1, 1) + conv(8 + 1, 1, 1) + 8 * 8
    for guide in (16, 32, 64)
]
PARAMETERS = {
    # Laterals; top-down 4, strided 3, bottom-up 3 and adaptive 4 convolutions; classes.
    PANet: of_encoder(8, 16, 32, 64)
    + sum(conv(c, 16, 1) for c in (8, 16, 32, 64))
    + (4 + 3 + 3 + 4) * normed(16, 16, 3)
    + conv(16, 3, 1),
    # Queries and keys of 32 / 8 channels, keys without a bias; two scales.
    DANet: of_encoder(16, 32, 64)
    + 2 * (normed(64, 32, 3) + normed(32, 32, 3))
    + (conv(32, 4, 1) + 32 * 4 + conv(32, 32, 1) + 1)
    + 1
    + CLASSIFIER,
    # Depthwise convolutions have nine weights a channel.
    FastFCN: of_encoder(8, 16, 32, 64)
    + sum(normed(c, 32, 3) for c in (16, 32, 64))
    + 4 * (96 * 9 + 2 * 96 + normed(96, 32, 1))
    + normed(128, 32, 3)
    + CLASSIFIER,
    DeepLabV3: of_encoder(16, 32, 64) + PYRAMID_OF_64 + normed(5 * 32, 32, 1) + CLASSIFIER,
    GatedSCNN: of_encoder(8, 16, 32, 64)
    + (conv(8, 8, 1) + sum(GATES) + conv(8, 1, 1))
    + (conv(2, 1, 1) + normed(1, 32, 1))
    + (PYRAMID_OF_64 + normed(6 * 32, 32, 1))
    + (normed(16, 32, 1) + normed(64, 32, 3))
    + CLASSIFIER,
    PSPNet: of_encoder(16, 32, 64) + 4 * conv(64, 16, 1) + normed(64 + 4 * 16, 32, 3) + CLASSIFIER,
}


@pytest.mark.parametrize("network", NETWORKS)
def test_parameters_are_those_of_the_formulas(network):
    built = network(2, 1, 3)
    assert sum(parameter.numel() for parameter in built.parameters()) == PARAMETERS[network]


@pytest.mark.parametrize("network", NETWORKS)
def test_weights_are_carried_by_a_state_dictionary(network):
    first, second = network(2, 1, 2), network(2, 1, 2)
    images = torch.randn(1, 1, 16, 16)
    assert not torch.equal(first(images), second(images))
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(first(images), second(images))
    assert {name.split(".")[0] for name in first.state_dict()} >= {"encoder", "head", "classifier"}


@pytest.mark.parametrize("network", NETWORKS)
def test_a_few_steps_learn_a_square(network):
    images = 0.3 * torch.randn(2, 1, 24, 24)
    labels = torch.zeros(2, 24, 24, dtype=torch.long)
    labels[:, 6:16, 4:18] = 1
    images[:, 0] += labels
    built = network(2, 1, 2)
    optimizer = torch.optim.AdamW(built.parameters(), lr=1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(built(images), labels).backward()
        optimizer.step()
    found = built(images).argmax(1) == 1
    # 140 pixels, of which 44 are on the edge, where a network that ends at stride 4 is not sure.
    assert 2 * int((found & (labels == 1)).sum()) / int(found.sum() + labels.sum()) > 0.85


def test_edges_come_in_train_mode_if_they_are_asked_for_and_are_learnt():
    network = GatedSCNN(3, 1, 2, edges_in_training=True)
    images, labels = torch.randn(1, 1, 9, 10, 11), torch.randint(0, 2, (1, 1, 9, 10, 11))
    logits, edges = network(images)
    assert (logits.shape, edges.shape) == ((1, 2, 9, 10, 11), (1, 1, 9, 10, 11))
    loss = DualTaskLoss(DiceCELoss(softmax=True, to_onehot_y=True))
    loss([logits, edges], labels).backward()
    assert network.shape_stream.edges.weight.grad.abs().max() > 0
    assert network.eval()(images).shape == (1, 2, 9, 10, 11)
    assert GatedSCNN(3, 1, 2).train()(images).shape == (1, 2, 9, 10, 11)


@pytest.mark.parametrize(("network", "levels"), [(FastFCN, 3), (GatedSCNN, 2)])
def test_an_encoder_of_too_few_levels_is_refused(network, levels):
    with pytest.raises(ValueError, match=f"{network.__name__} needs an encoder of {levels} levels at least, got 1"):
        network(2, 1, 2, encoder=SegResFeatures(2, 1, strides=()))


def test_a_head_of_ones_own():
    encoder = SegResFeatures(2, 1, width=4, strides=(2,))
    network = SegmentationNetwork(encoder, torch.nn.Conv2d(8, 5, 1), 5, 2)
    assert network(torch.randn(1, 1, 7, 9)).shape == (1, 2, 7, 9)


@pytest.mark.parametrize("network", [DANet, GatedSCNN])
def test_an_exported_program_gives_the_same(network):
    built, images = network(2, 1, 2).eval(), torch.randn(1, 1, 13, 18)
    program = torch.export.export(built, (images,))
    torch.testing.assert_close(program.module()(images), built(images))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("network", NETWORKS)
def test_the_same_on_cuda(network):
    built, images = network(3, 1, 3).eval(), torch.randn(1, 1, 32, 24, 16)
    with torch.no_grad():
        expected, found = built(images), built.cuda()(images.cuda()).cpu()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    with torch.autocast("cuda"):
        logits = built.train()(images.cuda())
        logits.float().square().mean().backward()
    assert logits.isfinite().all()
    assert all(weight.grad.isfinite().all() for weight in built.parameters() if weight.grad is not None)
