import numpy as np
import pytest
import torch
from scipy import ndimage

from rankseg_med.losses.soft_boundaries import dilated, eroded


@pytest.mark.parametrize("shape", [(9, 7), (6, 5, 4)])
@pytest.mark.parametrize("radius", [0, 1, 2])
def test_pooling_is_grey_morphology(shape, radius):
    image = np.random.default_rng(0).random(shape)
    size = (2 * radius + 1,) * len(shape)
    for function, reference, outside in (
        (dilated, ndimage.grey_dilation, -1),
        (eroded, ndimage.grey_erosion, 2),
    ):
        found = function(torch.from_numpy(image)[None, None], radius)[0, 0].numpy()
        np.testing.assert_array_equal(found, reference(image, size, mode="constant", cval=outside))
