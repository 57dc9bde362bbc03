from dataclasses import replace

import numpy as np
import pytest

from rankseg_med.studies import Grid
from rankseg_med.workflows.prediction_memory import PredictionMemory

MEMORY = PredictionMemory((3.0, 3.0, 4.0), num_classes=3, roi_size=(64, 64, 48), sw_batch_size=2)


def grid(shape, *spacing_mm):
    return Grid(shape, np.diag([*spacing_mm, 1.0]))


# Peak resident memory above that of a process that had predicted a small study before, with one convolution as network.
@pytest.mark.parametrize(
    ("shape", "spacing_mm", "settings", "channels", "measured_mb"),
    [
        ((10, 10, 10), (60, 60, 60), {}, 1, 158),
        ((10, 10, 10), (60, 60, 60), {"spacing_mm": (1.5,)}, 1, 759),
        ((256, 256, 120), (0.8, 0.8, 1.25), {}, 1, 205),
        ((512, 512, 150), (1, 1, 1), {"spacing_mm": (1.0,)}, 1, 634),
        ((128, 128, 60), (1.5, 1.5, 1.5), {"spacing_mm": (1.5,), "num_classes": 20}, 1, 453),
        ((256, 256, 120), (1.5, 1.5, 1.5), {"spacing_mm": (3.0,), "num_classes": 105}, 1, 3633),
        ((160, 160, 100), (1, 1, 1), {"spacing_mm": None, "num_classes": 4, "num_networks": 5}, 1, 473),
        (
            (160, 160, 100),
            (1, 1, 1),
            {"spacing_mm": (1.0,), "num_classes": 4, "num_networks": 5, "ensemble": "decode"},
            1,
            617,
        ),
        ((160, 160, 100), (1, 1, 1), {"spacing_mm": (1.0,), "num_classes": 4}, 4, 215),
    ],
)
def test_more_than_was_measured_but_not_much_more(shape, spacing_mm, settings, channels, measured_mb):
    needed = replace(MEMORY, **settings).needed(grid(shape, *spacing_mm), channels)
    assert measured_mb * 1e6 < needed < 2.6 * measured_mb * 1e6


def test_what_waits_on_disk_is_not_counted():
    volume = grid((256, 256, 120), 3, 3, 4)
    difference = MEMORY.needed(volume, 1) - replace(MEMORY, store="disk").needed(volume, 1)
    assert difference == 2 * 3 * 256 * 256 * 120


def test_a_window_of_a_planar_network_is_a_slice():
    volume = grid((200, 100, 50), 3, 3, 4)
    planar = replace(MEMORY, roi_size=(0, 0), axis=2).needed(volume, 1)
    assert planar == replace(MEMORY, roi_size=(200, 100, 1), axis=2).needed(volume, 1)
    assert planar == replace(MEMORY, roi_size=(0, 0), axis=-1).needed(volume, 1)
