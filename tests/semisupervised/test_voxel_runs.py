import torch

from rankseg_med.decode.blocks import TensorBlocks
from rankseg_med.semisupervised.voxel_runs import voxel_runs


def test_every_voxel_once_in_order():
    """More voxels than a run and than a tile hold, and not a multiple of either."""
    probabilities = torch.rand(3, 90, 80, 71)
    runs = [(run, values.clone()) for run, values in voxel_runs(TensorBlocks(probabilities))]
    assert len(runs) > 2
    assert [run.start for run, _ in runs[1:]] == [run.stop for run, _ in runs[:-1]]
    assert torch.equal(torch.cat([values for _, values in runs], 1), probabilities.flatten(1))
