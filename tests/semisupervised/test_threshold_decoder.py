import torch

from rankseg_med.semisupervised import ThresholdDecoder


def test_threshold_other_than_one_half():
    p = torch.tensor([[0.5, 0.1, 0.1], [0.3, 0.55, 0.05], [0.2, 0.35, 0.85]])
    for threshold, expected in ((0.5, [0, 1, 2]), (0.3, [1, 1, 2]), (0.6, [0, 0, 2])):
        assert ThresholdDecoder(threshold).decode(p).label_map.tolist() == expected
