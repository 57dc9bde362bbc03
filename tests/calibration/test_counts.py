import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rankseg_med.calibration import BinnedVoxels, ReliabilityCounts
from rankseg_med.calibration.bins import BINS, bin_of

FIELDS = ("voxels", "positive", "mass")


def case(seed, shape=(6, 7, 5), classes=3, lacks=()):
    generator = torch.Generator().manual_seed(seed)
    probabilities = (4 * torch.randn(classes, *shape, generator=generator)).softmax(0)
    labels = torch.randint(classes, shape, generator=generator)
    for label in lacks:
        labels[labels == label] = 0
    return probabilities, labels


def assert_same(first, second):
    for name in FIELDS:
        torch.testing.assert_close(getattr(first, name), getattr(second, name), rtol=1e-12, atol=1e-9)


def test_counts_of_slabs_add_up_to_those_of_the_volume():
    probabilities, labels = case(0)
    whole = BinnedVoxels.of_classes(probabilities, labels)
    parts = [BinnedVoxels.of_classes(probabilities[:, s], labels[s]) for s in (slice(0, 2), slice(2, 3), slice(3, 6))]
    assert_same(parts[0] + parts[1] + parts[2], whole)
    assert_same(BinnedVoxels.empty(2) + whole, whole)
    assert whole.voxels.sum(1).tolist() == [210, 210]
    assert whole.volume.tolist() == [int((labels == 1).sum()), int((labels == 2).sum())]


@pytest.mark.parametrize("regions", [None, [[1, 2], [2]]])
def test_voxel_by_voxel(regions):
    probabilities, labels = case(1)
    found = BinnedVoxels.of_classes(probabilities, labels, regions)
    for row, region in enumerate(regions or [[1], [2]]):
        expected = torch.zeros(3, BINS, dtype=torch.float64)
        p = sum(probabilities[label] for label in region).flatten()
        for value, bin, label in zip(p, bin_of(p), labels.flatten(), strict=True):
            expected[:, bin] += torch.tensor([1.0, float(int(label) in region), float(value)], dtype=torch.float64)
        for name, values in zip(FIELDS, expected, strict=True):
            torch.testing.assert_close(getattr(found, name)[row], values)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 999), st.sampled_from([(), (1,), (2,)])), min_size=1, max_size=5))
def test_every_case_counts_the_same(cases):
    parts = [case(seed, lacks=lacks) for seed, lacks in cases]
    counts = ReliabilityCounts.joined([ReliabilityCounts.of_case(BinnedVoxels.of_classes(*part)) for part in parts])
    for region in (1, 2):
        volumes = [int((labels == region).sum()) for _, labels in parts]
        if not any(volumes):
            with pytest.raises(ValueError, match="no case has anything of region"):
                counts.weighted("cases")
            return
    for row, region in enumerate((1, 2)):
        volumes = [int((labels == region).sum()) for _, labels in parts]
        inverse = [1 / volume for volume in volumes if volume]
        expected = torch.zeros(3, BINS, dtype=torch.float64)
        for (probabilities, labels), volume in zip(parts, volumes, strict=True):
            weight = 1 / volume if volume else sum(inverse) / len(inverse)
            bins, p = bin_of(probabilities[region]).flatten(), probabilities[region].flatten().double()
            for values, wanted in zip(
                (torch.ones_like(p), (labels == region).flatten().double(), p), expected, strict=True
            ):
                wanted.index_add_(0, bins, weight * values)
        found = counts.weighted("cases")
        for name, values in zip(FIELDS, expected, strict=True):
            torch.testing.assert_close(getattr(found, name)[row], values)
        assert float(found.positive[row].sum()) == pytest.approx(len(inverse))


def test_the_order_of_cases_does_not_matter():
    parts = [ReliabilityCounts.of_case(BinnedVoxels.of_classes(*case(seed))) for seed in range(3)]
    first, second = parts[0] + parts[1] + parts[2], parts[2] + (parts[0] + parts[1])
    assert_same(first.weighted("cases"), second.weighted("cases"))
    assert_same(first.weighted("voxels"), parts[0].every + parts[1].every + parts[2].every)


def test_channels_that_are_independent():
    generator = torch.Generator().manual_seed(0)
    probabilities, masks = (
        torch.rand(3, 4, 5, 6, generator=generator),
        torch.rand(3, 4, 5, 6, generator=generator) > 0.5,
    )
    found = BinnedVoxels.of_channels(probabilities, masks)
    for channel in range(3):
        one = torch.stack([1 - probabilities[channel], probabilities[channel]])
        mine = BinnedVoxels(*(getattr(found, name)[channel][None] for name in FIELDS))
        assert_same(BinnedVoxels.of_classes(one, masks[channel].long()), mine)


def test_half_precision_and_labels_of_eight_bits():
    probabilities, labels = case(3)
    half = probabilities.half()
    assert_same(BinnedVoxels.of_classes(half, labels.to(torch.uint8)), BinnedVoxels.of_classes(half.float(), labels))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, y: (p, y + 2), r"labels must be classes of the probabilities, 0 to 2; got 2 to 4"),
        (lambda p, y: (p, y[:3]), r"must be on the grid of the probabilities, \(6, 7, 5\), got \(3, 7, 5\)"),
        (lambda p, y: (p * 30, y), r"must lie in \[0, 1\], got .*; were logits passed\?"),
        (lambda p, y: (p * torch.nan, y), r"must lie in \[0, 1\], got nan"),
    ],
)
def test_what_cannot_be_counted(change, message, wrong_types):
    with pytest.raises(ValueError, match=message):
        BinnedVoxels.of_classes(*change(*case(4)))


def test_other_regions_and_words(wrong_types):
    counts = ReliabilityCounts.of_case(BinnedVoxels.of_classes(*case(5)))
    with pytest.raises(ValueError, match="counts of 2 and of 1 regions"):
        counts.every + BinnedVoxels.empty(1)
    with pytest.raises(ValueError, match="weighting must be cases or voxels, got 'case'"):
        counts.weighted("case")
