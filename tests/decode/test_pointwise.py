import pytest
import torch

from rankseg_med.decode import ArgmaxDecoder, AtHalfDecoder, Decoder, ThresholdDecoder


@pytest.mark.parametrize("store", ["memory", "disk"])
def test_each_channel_for_itself_and_one_half_is_outside(store):
    probabilities = torch.tensor([[0.0, 0.5, 0.51, 1.0], [1.0, 0.2, 0.6, 0.5]])
    session = AtHalfDecoder().open(2, (4,), store=store)
    session.update(slice(2, 4), probabilities[:, 2:])
    session.update(slice(0, 2), probabilities[:, :2])
    decoded = session.finalize()
    assert decoded.label_map.tolist() == [[0, 0, 1, 1], [1, 0, 1, 0]]
    assert decoded.decisions == ()


def test_logits_are_refused():
    with pytest.raises(ValueError, match="these look like logits"):
        AtHalfDecoder().open(1, (2,)).update(slice(0, 2), torch.tensor([[-3.0, 4.0]]))


@pytest.mark.parametrize("decoder", [ArgmaxDecoder(), AtHalfDecoder(), ThresholdDecoder(0.3)], ids=repr)
@pytest.mark.parametrize("store", ["memory", "disk"])
def test_slab_by_slab_as_at_once(decoder, store):
    probabilities = torch.softmax(torch.randn(3, 9, 4, 5, generator=torch.Generator().manual_seed(0)), 0)
    whole = decoder.decode(probabilities).label_map
    assert whole.shape == ((9, 4, 5) if decoder.exclusive else (3, 9, 4, 5))
    assert isinstance(decoder, Decoder)
    with decoder.open(3, (9, 4, 5), store=store) as session:
        session.update(slice(5, 9), probabilities[:, 5:])
        session.update(slice(0, 5), probabilities[:, :5])
        assert torch.equal(session.finalize().label_map, whole)


def test_threshold_other_than_one_half():
    p = torch.tensor([[0.5, 0.1, 0.1], [0.3, 0.55, 0.05], [0.2, 0.35, 0.85]])
    for threshold, expected in ((0.5, [0, 1, 2]), (0.3, [1, 1, 2]), (0.6, [0, 0, 2])):
        assert ThresholdDecoder(threshold).decode(p).label_map.tolist() == expected
