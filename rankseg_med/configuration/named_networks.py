"""Networks by name: ``network: unet``, or ``network: {unet: {channels: [8, 16], strides: [2]}}``.

The component goes to ``network_def``, of which the base of each job makes its ``network``; so one line serves training
and prediction.
"""

from __future__ import annotations

from rankseg_med.configuration.components import TARGET
from rankseg_med.configuration.named_parts import NamedParts

# A window of two axes is for a network of two.
_SIZES = {"spatial_dims": "$len(@roi_size)", "in_channels": "@channels", "out_channels": "@num_classes"}
_OURS = "rankseg_med.networks.architectures."
_WIDTHS = {"channels": [32, 64, 128, 256], "strides": [2, 2, 2]}

NETWORKS = NamedParts(
    "network",
    "network_def",
    {
        "unet": {TARGET: "UNet", **_SIZES, **_WIDTHS, "num_res_units": 2, "norm": "INSTANCE"},
        "attention_unet": {TARGET: "AttentionUnet", **_SIZES, **_WIDTHS},
        "segresnet": {TARGET: "SegResNet", **_SIZES, "init_filters": 16},
        "vnet": {TARGET: "VNet", **_SIZES},
        "panet": {TARGET: f"{_OURS}PANet", **_SIZES},
        "danet": {TARGET: f"{_OURS}DANet", **_SIZES},
        "fastfcn": {TARGET: f"{_OURS}FastFCN", **_SIZES},
        "deeplabv3": {TARGET: f"{_OURS}DeepLabV3", **_SIZES},
        "gated_scnn": {TARGET: f"{_OURS}GatedSCNN", **_SIZES},
        "pspnet": {TARGET: f"{_OURS}PSPNet", **_SIZES},
    },
)
