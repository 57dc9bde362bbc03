import pytest
import torch

from rankseg_med.networks.architectures import GatedConvolution, GatedSCNN


@pytest.mark.parametrize(("logit", "factor"), [(-1e4, 1.0), (0.0, 1.5), (1e4, 2.0)])
def test_a_gate_adds_what_it_lets_through(logit, factor):
    """Equation 2 of the paper, s α + s: a gate of 0 adds nothing."""
    gated = GatedConvolution(2, 4, 3)
    torch.nn.init.zeros_(gated.gate[-1].weight)
    torch.nn.init.constant_(gated.gate[-1].bias, logit)
    torch.nn.init.dirac_(gated.output.weight)
    shape = torch.randn(1, 4, 6, 7)
    torch.testing.assert_close(gated(shape, torch.randn(1, 3, 3, 4)), factor * shape)


def test_with_closed_gates_the_encoders_coarser_features_do_not_reach_the_edges():
    torch.manual_seed(0)
    stream = GatedSCNN(2, 1, 2).shape_stream
    features = [torch.randn(1, channels, size, size) for channels, size in ((8, 16), (16, 8), (32, 4), (64, 2))]
    others = [features[0], *(2 * feature + 1 for feature in features[1:])]
    assert not torch.allclose(stream(features), stream(others))
    for gate in stream.gates:
        torch.nn.init.zeros_(gate.gate[-1].weight)
        torch.nn.init.constant_(gate.gate[-1].bias, -1e4)
    assert torch.equal(stream(features), stream(others))


def test_edges_of_the_image_reach_the_classes():
    """By the range around each pixel, which is 0 wherever the image is flat."""
    torch.manual_seed(0)
    network = GatedSCNN(2, 1, 2).eval()
    images = torch.zeros(1, 1, 16, 16)
    images[..., 8:] = 1
    seen = []
    network.combine.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0][0, 1]))
    network(images)
    expected = torch.zeros(16, 16)
    expected[:, 7:9] = 1
    torch.testing.assert_close(seen[0], expected)
