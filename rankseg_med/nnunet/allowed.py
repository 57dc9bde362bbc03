"""What plans may name: nnU-Net looks names up and calls what it finds, so that plans from elsewhere can run code."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from rankseg_med.nnunet.errors import NnunetError


def _of_torch(module: str, *names: str) -> frozenset[str]:
    """Names of classes of torch.nn, as plans spell them."""
    return frozenset(f"{place}.{name}" for name in names for place in ("torch.nn", f"torch.nn.modules.{module}"))


_UNETS = "dynamic_network_architectures.architectures.unet"
_BLOCKS = "dynamic_network_architectures.building_blocks.residual"

NETWORKS = {
    **{f"{_UNETS}.{name}": f"{_UNETS}.{name}" for name in ("PlainConvUNet", "ResidualEncoderUNet", "ResidualUNet")},
    # Where nnU-Net looks for it when plans are older than 2.4, and does not find it.
    "dynamic_network_architectures.architectures.residual_unet.ResidualEncoderUNet": f"{_UNETS}.ResidualEncoderUNet",
}
"""Networks by the names that plans give them, and where they are."""

_OF_NETWORK: Mapping[str, Collection[str]] = {
    "conv_op": _of_torch("conv", "Conv2d", "Conv3d"),
    "norm_op": _of_torch("instancenorm", "InstanceNorm2d", "InstanceNorm3d")
    | _of_torch("batchnorm", "BatchNorm2d", "BatchNorm3d"),
    "dropout_op": _of_torch("dropout", "Dropout", "Dropout2d", "Dropout3d"),
    "nonlin": _of_torch("activation", "LeakyReLU", "ReLU", "PReLU", "ELU", "GELU", "SiLU", "Mish"),
    "block": (f"{_BLOCKS}.BasicBlockD", f"{_BLOCKS}.BottleneckD"),
}
_OLD_NETWORKS = ("PlainConvUNet", "ResidualEncoderUNet")
_PREPROCESSORS = ("DefaultPreprocessor",)
_NORMALISATIONS = (
    *("CTNormalization", "ZScoreNormalization", "NoNormalization", "RescaleTo01Normalization"),
    "RGBTo01Normalization",
)
RESAMPLING = ("resample_data_or_seg_to_shape", "resample_torch_fornnunet", "no_resampling_hack")
"""Functions that resample: by scikit-image, by torch, not at all."""
READERS = ("SimpleITKIO", "SimpleITKIOWithReorient", "NibabelIO", "NibabelIOWithReorient")

# Trainers differ in how they train; those that build another network than the plans say are not here.
_TRAINERS = re.compile(
    r"nnUNetTrainer("
    r"|_\d+epochs?(_NoMirroring)?|NoMirroring|_onlyMirror01(_1500ep|_DASegOrd0|_DA5)?|NoDA|_noDummy2DDA"
    r"|DA5(ord0|Segord0|_10epochs)?|_DASegOrd0(_NoMirroring)?"
    r"|DiceLoss|DiceCELoss_noSmooth|CELoss(_5epochs)?|Topk10Loss(LS01)?|DiceTopK10Loss"
    r"|CosAnneal|_warmup|(Vanilla)?Adam(1en3|3en4)?|Adan(1en3|3en4|1en1|CosAnneal)?"
    r"|_probabilisticOversampling(_033|_010)?|NoDeepSupervision|Benchmark_5epochs(_noDataLoading)?"
    r")|nnUNet_Trainer_BS8"
)


def check_configuration(configuration: Mapping[str, Any], where: str) -> None:
    """Raise unless a configuration names nothing but nnU-Net's own parts; nothing is imported.

    Args:
        configuration: One of the plans' configurations, with what it inherits.
        where: What errors begin with.

    Raises:
        NnunetError: A name is not allowed, or the configuration is a cascade's.
    """
    if configuration.get("previous_stage"):
        raise NnunetError(
            f"{where} is a cascade, which needs another network's predictions first; use a configuration that stands "
            "by itself, such as 3d_fullres"
        )
    if "architecture" in configuration:
        architecture = configuration["architecture"]
        check_name(architecture["network_class_name"], NETWORKS, f"{where}: network_class_name")
        for entry in architecture["_kw_requires_import"]:
            check_name(entry, _OF_NETWORK, f"{where}: _kw_requires_import")
            if (name := architecture["arch_kwargs"].get(entry)) is not None:
                check_name(name, _OF_NETWORK[entry], f"{where}: {entry}")
    else:
        check_name(configuration["UNet_class_name"], _OLD_NETWORKS, f"{where}: UNet_class_name")
    check_name(configuration["preprocessor_name"], _PREPROCESSORS, f"{where}: preprocessor_name")
    for scheme in configuration["normalization_schemes"]:
        check_name(scheme, _NORMALISATIONS, f"{where}: normalization_schemes")
    for what in ("data", "seg", "probabilities"):
        check_name(configuration[f"resampling_fn_{what}"], RESAMPLING, f"{where}: resampling_fn_{what}")


def check_trainer(trainer: object, where: str) -> None:
    """Raise unless a trainer is one of nnU-Net's own that trains the network of the plans."""
    if not isinstance(trainer, str) or not _TRAINERS.fullmatch(trainer):
        raise NnunetError(
            f"{where}: must be of a trainer of nnU-Net that keeps to the network of the plans, such as nnUNetTrainer "
            f"or nnUNetTrainerNoMirroring, got {trainer!r}, whose network is not known here; predict with nnU-Net and "
            "--save_probabilities, and decode those"
        )


def check_name(name: object, allowed: Collection[str], where: str) -> None:
    """Raise unless a name is one of those that are allowed."""
    if not isinstance(name, str) or name not in allowed:
        raise NnunetError(
            f"{where}: must be one of nnU-Net's own ({', '.join(sorted(allowed))}), got {name!r}; nnU-Net runs what "
            "plans name, so that nothing else is looked up"
        )
