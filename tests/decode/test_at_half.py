import pytest
import torch

from rankseg_med.decode.at_half import AtHalfDecoder


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
