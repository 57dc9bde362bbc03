"""Small segmentation networks by published designs, in 2-D and 3-D, on encoders of MONAI's or any other."""

from rankseg_med.networks.architectures.atrous_spatial_pyramid import AtrousSpatialPyramid, DeepLabV3
from rankseg_med.networks.architectures.dual_attention import ChannelAttention, DANet, DualAttention, PositionAttention
from rankseg_med.networks.architectures.encoder import Encoder, FeatureEncoder, SegResFeatures
from rankseg_med.networks.architectures.gated_shape_stream import GatedConvolution, GatedSCNN, GatedShapeStream
from rankseg_med.networks.architectures.joint_pyramid_upsampling import FastFCN, JointPyramidUpsampling
from rankseg_med.networks.architectures.path_aggregation import PANet, PathAggregation
from rankseg_med.networks.architectures.pyramid_pooling import PSPNet, PyramidPooling
from rankseg_med.networks.architectures.segmentation_network import SegmentationNetwork

__all__ = [
    "AtrousSpatialPyramid",
    "ChannelAttention",
    "DANet",
    "DeepLabV3",
    "DualAttention",
    "Encoder",
    "FastFCN",
    "FeatureEncoder",
    "GatedConvolution",
    "GatedSCNN",
    "GatedShapeStream",
    "JointPyramidUpsampling",
    "PANet",
    "PSPNet",
    "PathAggregation",
    "PositionAttention",
    "PyramidPooling",
    "SegResFeatures",
    "SegmentationNetwork",
]
