"""Image to label map, slab by slab, on the image's own grid."""

from rankseg_med.inference.class_features import class_features
from rankseg_med.inference.errors import InferenceError
from rankseg_med.inference.model import DecodedGrid, Ensemble, Predicted, SegmentationModel
from rankseg_med.inference.native_grid import NativeGrid
from rankseg_med.inference.slab import Slab, Waiting, volume_of
from rankseg_med.inference.streaming import StreamingInferer
from rankseg_med.inference.undoing import AxisOrigin

__all__ = [
    "AxisOrigin",
    "DecodedGrid",
    "Ensemble",
    "InferenceError",
    "NativeGrid",
    "Predicted",
    "SegmentationModel",
    "Slab",
    "StreamingInferer",
    "Waiting",
    "class_features",
    "volume_of",
]
