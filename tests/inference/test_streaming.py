"""Streaming is MONAI's sliding window inference, only in another order."""

import itertools
import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers import sliding_window_inference
from monai.networks.nets import UNet

from rankseg_med.inference import InferenceError, StreamingInferer

CLASSES = 3


def network(spatial: int, channels: int = 1, seed: int = 0) -> torch.nn.Module:
    """Convolutions see their window's border, so that blending matters."""
    torch.manual_seed(seed)
    conv = {2: torch.nn.Conv2d, 3: torch.nn.Conv3d}[spatial]
    return torch.nn.Sequential(conv(channels, 4, 5, padding=2), torch.nn.Tanh(), conv(4, CLASSES, 3, padding=1)).eval()


def volume(*shape: int, channels: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(channels, *shape, generator=torch.Generator().manual_seed(seed))


def streamed(inferer: StreamingInferer, image: torch.Tensor, net, classes: int = CLASSES) -> torch.Tensor:
    """All slabs put together; they must follow each other without a gap."""
    axis = inferer.axis % (image.ndim - 1)
    slabs = list(inferer(image, net, classes))
    edges = [0, *(slab.stop for slab in slabs)]
    assert [slab.start for slab in slabs] == edges[:-1]
    assert edges[-1] == image.shape[axis + 1]
    assert all(slab.probabilities.shape[axis + 1] == slab.stop - slab.start for slab in slabs)
    return torch.cat([slab.probabilities for slab in slabs], axis + 1)


def by_monai(image: torch.Tensor, net, roi, activation="softmax", **options) -> torch.Tensor:
    with torch.no_grad():
        logits = sliding_window_inference(image[None], roi, 2, net, **options)[0]
    return torch.softmax(logits, 0) if activation == "softmax" else torch.sigmoid(logits)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_probabilities_are_monais(data):
    spatial = data.draw(st.sampled_from([2, 3, 3]))
    shape = [data.draw(st.integers(1, 40 if spatial == 2 else 20)) for _ in range(spatial)]
    roi = [data.draw(st.sampled_from([-1, *range(2, 13)])) for _ in range(spatial)]
    options = {
        "overlap": data.draw(st.sampled_from([0.0, 0.25, 0.5, 0.8]) | st.tuples(*[st.floats(0, 0.9)] * spatial)),
        "mode": data.draw(st.sampled_from(["constant", "gaussian"])),
        "sigma_scale": data.draw(st.sampled_from([0.125, 0.3])),
        "cval": data.draw(st.sampled_from([0.0, -2.0])),
    }
    axis = data.draw(st.integers(-spatial, spatial - 1))
    activation = data.draw(st.sampled_from(["softmax", "sigmoid"]))
    batch = data.draw(st.integers(1, 5))
    image, net = volume(*shape, channels=2), network(spatial, 2)
    ours = streamed(StreamingInferer(roi, batch, axis=axis, activation=activation, **options), image, net)
    theirs = by_monai(image, net, roi, activation, **options)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("padding_mode", ["constant", "replicate", "reflect"])
def test_padding_of_small_volumes_is_monais(padding_mode):
    image, net = volume(7, 9, 30), network(3)
    ours = streamed(StreamingInferer((12, 12, 12), padding_mode=padding_mode), image, net)
    torch.testing.assert_close(ours, by_monai(image, net, (12, 12, 12), padding_mode=padding_mode), atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", ["constant", "gaussian"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_voxel_is_covered_with_weights_that_sum_to_one(mode, axis):
    """A network that returns the same logits everywhere gives the same probabilities everywhere."""
    logits = torch.tensor([0.3, -1.0, 2.0])

    def constant(x: torch.Tensor) -> torch.Tensor:
        return logits[None, :, None, None, None].expand(len(x), -1, *x.shape[2:])

    found = streamed(StreamingInferer((8, 5, 6), overlap=0.6, mode=mode, axis=axis), volume(21, 17, 13), constant)
    torch.testing.assert_close(found, torch.softmax(logits, 0)[:, None, None, None].expand(-1, 21, 17, 13))


def test_a_shifted_volume_gives_shifted_probabilities():
    """Where windows are shifted too: by a multiple of their distance."""
    net, inferer = network(3), StreamingInferer((8, 8, 8), overlap=0.5, mode="gaussian")
    image = volume(48, 16, 16)
    whole, shifted = streamed(inferer, image, net), streamed(inferer, image[:, 8:], net)
    torch.testing.assert_close(shifted[:, 8:], whole[:, 16:], atol=1e-6, rtol=0)


def test_only_a_band_is_held(monkeypatch):
    """A thousand slices and a window of four."""
    largest = []
    zeros = torch.zeros

    def recorded(*args, **kwargs):
        made = zeros(*args, **kwargs)
        largest.append(made.numel())
        return made

    monkeypatch.setattr(torch, "zeros", recorded)
    slabs = StreamingInferer((4, 8, 8), overlap=0.5)(volume(1000, 8, 8), lambda x: x.expand(-1, CLASSES, -1, -1, -1), 3)
    assert sum(slab.stop - slab.start for slab in slabs) == 1000
    assert max(largest) <= CLASSES * 4 * 8 * 8


@pytest.mark.parametrize("flip_axes", [(0,), (1, 2), (0, 1, 2), (-1,), "all"])
@pytest.mark.parametrize("axis", [0, 1])
def test_flips_are_the_mean_over_every_subset(flip_axes, axis):
    image, net = volume(14, 9, 11), network(3)
    axes = [0, 1, 2] if flip_axes == "all" else [flip % 3 for flip in flip_axes]
    subsets = [some for n in range(len(axes) + 1) for some in itertools.combinations(axes, n)]

    def averaged(x: torch.Tensor) -> torch.Tensor:
        dims = [[flip + 2 for flip in some] for some in subsets]
        return sum(net(x.flip(some)).flip(some) for some in dims) / len(dims)

    inferer = StreamingInferer((8, 8, 8), overlap=0.5, flip_axes=flip_axes, axis=axis)
    theirs = by_monai(image, averaged, (8, 8, 8), overlap=0.5)
    torch.testing.assert_close(streamed(inferer, image, net), theirs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("flip", [False, True])
def test_two_dimensional_networks_see_slices(axis, flip):
    image, net = volume(9, 14, 12, channels=2), network(2, 2)
    flip_axes = [other for other in range(3) if other != axis][:1] if flip else []
    inferer = StreamingInferer((8, 10), 3, overlap=0.5, mode="gaussian", axis=axis, flip_axes=flip_axes)

    def slice_network(x: torch.Tensor) -> torch.Tensor:
        return (net(x) + net(x.flip(2)).flip(2)) / 2 if flip else net(x)

    theirs = [
        by_monai(image.select(axis + 1, n), slice_network, (8, 10), overlap=0.5, mode="gaussian")
        for n in range(image.shape[axis + 1])
    ]
    torch.testing.assert_close(streamed(inferer, image, net), torch.stack(theirs, axis + 1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("axis", [0, 2])
def test_neighbouring_slices_are_channels(axis):
    """Slice by slice, from the lowest: slice n is marked by its number, beyond the volume the outermost is repeated."""
    image = torch.stack([torch.arange(6.0), 100 + torch.arange(6.0)])[:, :, None, None].expand(2, 6, 8, 8)
    image = image.movedim(1, axis + 1)
    seen = []

    def looking(x: torch.Tensor) -> torch.Tensor:
        seen.extend(x[:, :, 0, 0].tolist())
        return x[:, :CLASSES]

    streamed(StreamingInferer((8, 8), axis=axis, neighbours=1), image, looking)
    around = [[max(n - 1, 0), n, min(n + 1, 5)] for n in range(6)]
    assert seen == [[value for n in slices for value in (n, 100 + n)] for slices in around]


def head(x: torch.Tensor, classes: int = CLASSES) -> torch.Tensor:
    return x.expand(-1, classes, -1, -1, -1)


@pytest.mark.parametrize(
    "output",
    [
        lambda x: [head(x), head(x)[..., ::2, ::2, ::2]],
        lambda x: (head(x)[..., ::2, ::2, ::2], head(x)),
        lambda x: {"logits": head(x), "features": x},
        lambda x: {"anything": head(x)},
        lambda x: {"out": [head(x), head(x)[..., ::2, ::2, ::2]]},
    ],
)
def test_what_networks_return_besides_a_tensor(output):
    image = volume(8, 8, 8)
    torch.testing.assert_close(
        streamed(StreamingInferer((8, 8, 8)), image, output), torch.softmax(head(image[None])[0], 0)
    )


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda x: head(x, 4), r"must return logits \(batch, 3, 8, 8, 8\) for num_classes=3, got \(1, 4, 8, 8, 8\)"),
        (lambda x: [head(x)[..., ::2]], r"no output .* has the window's shape \(8, 8, 8\), got \(1, 3, 8, 8, 4\)"),
        (lambda x: {"a": x, "b": x}, "one tensor, or one named logits, .* got a, b"),
        (lambda x: {}, "must return one tensor"),
        (lambda x: "probabilities", "must return logits, got str"),
        (lambda x: [], "got no tensors"),
    ],
)
def test_what_a_network_must_not_return(output, message):
    with pytest.raises(InferenceError, match=message):
        streamed(StreamingInferer((8, 8, 8)), volume(8, 8, 8), output)


@pytest.mark.parametrize(("axis", "value"), [(0, torch.nan), (1, torch.inf), (2, -torch.inf)])
def test_nan_stops_with_the_windows_place(axis, value):
    image = volume(30, 20, 24)
    image[0, 17, 3, 13] = 1000

    def failing(x: torch.Tensor) -> torch.Tensor:
        return torch.where(x == 1000, value, x).expand(-1, CLASSES, -1, -1, -1)

    with pytest.raises(InferenceError, match=r"NaN or infinite logits in window \[10:20, 0:10, 10:20\]"):
        streamed(StreamingInferer((10, 10, 10), 4, overlap=0, axis=axis), image, failing)


class ScarceMemory:
    """A device that runs out of memory with more than so many windows at a time."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.batches: list[int] = []

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return head(x)


def test_out_of_memory_falls_back_to_fewer_windows(caplog):
    image, scarce = volume(16, 32, 32), ScarceMemory(3)
    with caplog.at_level(logging.WARNING):
        found = streamed(StreamingInferer((8, 8, 8), 16, overlap=0), image, scarce)
    torch.testing.assert_close(found, torch.softmax(image.expand(CLASSES, -1, -1, -1), 0))
    assert max(scarce.batches[scarce.batches.index(2) :]) == 2, "what failed is not tried again"
    assert "2 windows at a time from here on" in caplog.text


def test_out_of_memory_moves_the_band_and_then_gives_up(monkeypatch, caplog):
    """The band is said to be on another device than main memory; there is none on this machine."""
    from rankseg_med.inference import band

    monkeypatch.setattr(band.Band, "device", property(lambda self: torch.device("cpu" if self.moved else "meta")))
    monkeypatch.setattr(band.Band, "moved", False, raising=False)
    monkeypatch.setattr(band.Band, "to_main_memory", lambda self: setattr(self, "moved", True))
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(InferenceError, match=r"not even one window \(8, 9, 10\) fits"),
    ):
        streamed(StreamingInferer((8, 9, 10), 2, overlap=0), volume(8, 32, 32), ScarceMemory(0))
    assert "logits are added up in main memory" in caplog.text


def test_the_band_goes_to_main_memory_if_it_does_not_fit(monkeypatch):
    from rankseg_med.inference.band import Band

    zeros = torch.zeros

    def scarce(*args, device=None, **kwargs):
        if torch.device(device).type == "meta":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return zeros(*args, device=device, **kwargs)

    monkeypatch.setattr(torch, "zeros", scarce)
    assert Band(3, (8, 8), torch.ones(4, 8, 8), torch.device("meta")).device.type == "cpu"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"roi_size": (8, 8, 8), "overlap": 1.0}, r"overlap in \[0, 1\)"),
        ({"roi_size": (8, 8, 8), "sw_batch_size": 0}, "sw_batch_size must be at least 1"),
        ({"roi_size": (8, 8, 8), "activation": "relu"}, "softmax or sigmoid, got 'relu'"),
        ({"roi_size": (8,)}, "roi_size must have 3 entries"),
        ({"roi_size": (8, 8, 8), "axis": 3}, "axis 3 is none of the 3 axes"),
        ({"roi_size": (8, 8, 8), "neighbours": 1}, "neighbours are for 2-D networks"),
        ({"roi_size": (8, 8, 8), "flip_axes": (0, 0)}, "flip_axes must be different axes"),
        ({"roi_size": (8, 8), "flip_axes": (0,)}, "within its slices"),
    ],
)
@pytest.mark.usefixtures("wrong_types")
def test_settings_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        streamed(StreamingInferer(**options), volume(8, 8, 8), head)


def test_a_network_of_monai_gives_monais_probabilities():
    torch.manual_seed(0)
    net = UNet(3, 1, CLASSES, (4, 8, 8), (2, 2), norm="INSTANCE").eval()
    image = volume(40, 36, 44)
    ours = streamed(StreamingInferer((32, 32, 32), 2, overlap=0.5, mode="gaussian", axis=2), image, net)
    theirs = by_monai(image, net, (32, 32, 32), overlap=0.5, mode="gaussian")
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    assert np.isfinite(ours.numpy()).all()
