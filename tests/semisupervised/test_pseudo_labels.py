import numpy as np
import pytest
import torch
from scipy import ndimage

from rankseg_med.decode import ArgmaxDecoder, AtHalfDecoder, RankSEGDecoder
from rankseg_med.semisupervised import PseudoLabeller


def random_probabilities(seed, classes=3, shape=(10, 12, 8)):
    """Smooth blobs of several components."""
    noise = np.random.default_rng(seed).normal(size=(classes, *shape))
    logits = np.stack([ndimage.gaussian_filter(channel, 1.0) for channel in noise]) * 12
    logits[0] += 4
    return torch.from_numpy(logits).softmax(0).float()


def largest_by_scipy(label_map, group):
    mask = np.isin(label_map, group)
    components, count = ndimage.label(mask, np.ones((3,) * mask.ndim))
    largest = 1 + np.argmax(ndimage.sum_labels(mask, components, range(1, count + 1)))
    return np.where(mask & (components != largest), 0, label_map)


def decoded_by_hand(name, probabilities):
    if name == "argmax":
        return probabilities.argmax(0).numpy()
    if name == "threshold":  # more than half of the probability: at most one class has it
        return ((probabilities[1] >= 0.5) * 1 + (probabilities[2] >= 0.5) * 2).numpy()
    return RankSEGDecoder("dice", coherence=0, empty_score=0)(probabilities).numpy()


@pytest.mark.parametrize("decoder", ["argmax", "threshold", "rankseg"])
@pytest.mark.parametrize("groups", [[[1, 2]], [1, 2], [2]])
def test_decoder_and_cleanup_by_hand(decoder, groups):
    batch = torch.stack([random_probabilities(seed) for seed in (0, 1)])
    labels = PseudoLabeller(decoder, largest_component=groups).label_batch(batch)
    assert labels.label_map.dtype == torch.uint8
    for probabilities, label_map in zip(batch, labels.label_map, strict=True):
        decoded = expected = decoded_by_hand(decoder, probabilities)
        for group in groups:
            expected = largest_by_scipy(expected, group)
        assert np.any(expected != decoded), "the example must need cleaning"
        np.testing.assert_array_equal(label_map, expected)
    assert torch.all(labels.weight == 1)
    assert len(labels.decisions) == (4 if decoder == "rankseg" else 0)


def test_a_decoder_of_ones_own():
    probabilities = random_probabilities(3)
    for decoder in (RankSEGDecoder("iou", presence="always"), ArgmaxDecoder()):
        labeller = PseudoLabeller(decoder, largest_component=False)
        np.testing.assert_array_equal(labeller.label_volume(probabilities).label_map, decoder(probabilities))
        with RankSEGDecoder().open(3, probabilities.shape[1:]) as session:
            session.update(slice(0, len(probabilities[0])), probabilities)
            same = labeller.label_session(session).label_map == decoder(probabilities)
            assert same.float().mean() > 0.99  # a session rounds to 16 bits


@pytest.mark.parametrize("decoder", [RankSEGDecoder("dice", mode="multilabel"), AtHalfDecoder()])
def test_channels_that_overlap_make_no_label_map(decoder):
    with pytest.raises(ValueError, match="must be of exclusive classes"):
        PseudoLabeller(decoder)


def test_every_label_on_its_own_and_no_cleanup():
    probabilities = random_probabilities(2)
    argmax = probabilities.argmax(0).numpy()
    each = PseudoLabeller("argmax", largest_component=True).label_volume(probabilities)
    np.testing.assert_array_equal(each.label_map, largest_by_scipy(largest_by_scipy(argmax, [1]), [2]))
    none = PseudoLabeller("argmax", largest_component=False).label_volume(probabilities)
    np.testing.assert_array_equal(none.label_map, argmax)


def test_confidence_is_of_the_label_given_and_decides_what_is_ignored():
    foreground = torch.tensor([[0.9, 0.7, 0.1, 0.4, 0.2, 0.95]])  # the last is a component of its own
    foreground[0, 3:5] = torch.tensor([0.1, 0.2])
    probabilities = torch.stack([1 - foreground, foreground])
    labeller = PseudoLabeller("argmax", min_confidence=0.75, weight_by_confidence=True, ignore_index=9)
    label = labeller.label_volume(probabilities)
    assert label.label_map.tolist() == [[1, 9, 0, 0, 0, 9]]
    torch.testing.assert_close(label.confidence, torch.tensor([[0.9, 0.7, 0.9, 0.9, 0.8, 0.05]]))
    torch.testing.assert_close(label.weight, torch.tensor([[0.9, 0, 0.9, 0.9, 0.8, 0]]))


def test_expected_dice_is_that_of_the_cleaned_label_map():
    """Against all 2^8 outcomes of independent voxels."""
    p = torch.tensor([[0.9, 0.8, 0.3, 0.1], [0.05, 0.2, 0.1, 0.85]], dtype=torch.float64)
    kept = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0]], dtype=torch.bool).flatten()  # 0.85 is a smaller component
    expected = 0.0
    for outcome in range(2**8):
        truth = torch.tensor([outcome >> voxel & 1 for voxel in range(8)], dtype=torch.bool)
        probability = torch.where(truth, p.flatten(), 1 - p.flatten()).prod()
        expected += float(probability) * 2 * int((truth & kept).sum()) / max(1, int(truth.sum() + kept.sum()))
    label = PseudoLabeller("argmax").label_volume(torch.stack([1 - p, p]))
    assert label.label_map.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0]]
    assert float(label.expected_dice[0]) == pytest.approx(expected, abs=2e-5)  # levels are 1.5e-5 apart


def test_expected_dice_of_an_empty_label_map():
    p = torch.full((2, 3), 0.1)
    for empty_score, expected in ((0.0, 0.0), (1.0, 0.9**6)):
        label = PseudoLabeller("argmax", empty_score=empty_score).label_volume(torch.stack([1 - p, p]))
        assert not label.label_map.any()
        assert float(label.expected_dice[0]) == pytest.approx(expected, abs=1e-3)


def test_rankseg_recovers_a_small_object_that_argmax_drops():
    """A lesion seen dimly (0.98 in a core of one voxel, 0.45 around it): argmax keeps next to nothing of it."""
    truth = torch.zeros(12, 12, 12, dtype=torch.bool)
    truth[5:8, 5:8, 5:8] = True
    foreground = torch.where(truth, 0.45, 0.002)
    foreground[6, 6, 6] = 0.98
    probabilities = torch.stack([1 - foreground, foreground])

    def dice(decoder):
        label = PseudoLabeller(decoder).label_volume(probabilities).label_map == 1
        return 2 * int((label & truth).sum()) / int(label.sum() + truth.sum())

    assert dice("argmax") == dice("threshold") == 2 / 28
    assert dice("rankseg") == 1


@pytest.mark.parametrize("decoder", ["argmax", "threshold", "rankseg"])
def test_a_session_gives_what_the_volume_gives(decoder):
    """On probabilities that a session can hold exactly."""
    levels = (random_probabilities(3, shape=(24, 20, 16))[1:] * 65535).round()
    probabilities = torch.cat([1 - levels.sum(0, keepdim=True) / 65535, levels / 65535])
    session = RankSEGDecoder().open(3, (24, 20, 16), axis=2)
    labeller = PseudoLabeller(decoder, min_confidence=0.4, weight_by_confidence=True)
    with pytest.raises(ValueError, match="are missing"):
        labeller.label_session(session)
    for start in (8, 0):
        session.update(slice(start, start + 8), probabilities[..., start : start + 8])
    of_session, of_volume = labeller.label_session(session), labeller.label_volume(probabilities)
    assert set(of_volume.label_map.unique().tolist()) == {0, 1, 2, 255}
    torch.testing.assert_close(of_session.label_map, of_volume.label_map, rtol=0, atol=0)
    for name in ("confidence", "weight", "expected_dice"):
        torch.testing.assert_close(getattr(of_session, name), getattr(of_volume, name), rtol=0, atol=1e-6)
    assert len(of_session.decisions) == (2 if decoder == "rankseg" else 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_confidence": 1.5}, r"min_confidence must lie in \[0, 1\]"),
        ({"ignore_index": 0}, "ignore_index must be 1 to 255"),
        ({"decoder": "threshold", "threshold": 0.0}, "threshold must lie in"),
        ({"decoder": "best"}, "decoder must be argmax, threshold, rankseg or a decoder, got 'best'"),
    ],
)
def test_wrong_options(wrong_types, options, message):
    with pytest.raises(ValueError, match=message):
        PseudoLabeller(**options)


def test_what_is_no_probability_volume_is_refused():
    with pytest.raises(ValueError, match="ignore_index 2 is one of the 3 classes"):
        PseudoLabeller(ignore_index=2).label_volume(random_probabilities(0))
    for decoder in ("argmax", "threshold", "rankseg"):
        with pytest.raises(ValueError, match="softmax"):
            PseudoLabeller(decoder).label_volume(torch.randn(3, 5, 6))
