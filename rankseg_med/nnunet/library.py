"""All that is run of nnU-Net itself; no other file imports it. What plans name was checked before (see `Plans`)."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from rankseg_med.nnunet.allowed import NETWORKS
from rankseg_med.nnunet.errors import NnunetError
from rankseg_med.nnunet.plans import Plans


class Library:
    """nnU-Net's own parts, as the plans of one model configure them.

    Args:
        plans: Plans of the model.

    Raises:
        NnunetError: nnU-Net is not installed.
    """

    def __init__(self, plans: Plans) -> None:
        check_installed()
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

        # Old plans are brought up to date in place.
        self._plans = PlansManager(copy.deepcopy(dict(plans.plans)))
        self._configuration = self._plans.get_configuration(plans.configuration)
        self._dataset = dict(plans.dataset)
        self._num_images, self._num_channels = plans.num_images, plans.labels.channels

    def network(self) -> torch.nn.Module:
        """The network of the plans, with weights of any kind."""
        from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

        network: torch.nn.Module = get_network_from_plans(
            NETWORKS[self._configuration.network_arch_class_name],
            self._configuration.network_arch_init_kwargs,
            self._configuration.network_arch_init_kwargs_req_import,
            self._num_images,
            self._num_channels,
            allow_init=False,
            deep_supervision=False,
        )
        return network

    def predictor(
        self,
        network: torch.nn.Module,
        trainer: str,
        mirroring_axes: Sequence[int],
        step_size: float,
        device: torch.device,
    ) -> Any:  # noqa: ANN401
        """What takes a network over a volume."""
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

        with contextlib.redirect_stdout(io.StringIO()):  # it says that a CPU is no GPU
            predictor = nnUNetPredictor(
                tile_step_size=step_size,
                use_mirroring=bool(mirroring_axes),
                perform_everything_on_device=device.type == "cuda",
                device=device,
                allow_tqdm=False,
            )
        predictor.manual_initialization(
            network, self._plans, self._configuration, None, self._dataset, trainer, tuple(mirroring_axes) or None
        )
        return predictor

    def preprocess(
        self, voxels: Float32[np.ndarray, "images Z Y X"], properties: dict[str, Any]
    ) -> Float32[np.ndarray, "images *model"]:
        """Transpose, crop, normalise and resample; what was done is noted in the properties."""
        preprocessor = self._configuration.preprocessor_class(verbose=False)
        data: np.ndarray = preprocessor.run_case_npy(
            voxels, None, properties, self._plans, self._configuration, self._dataset
        )[0]
        return data

    def resample(
        self,
        logits: Float[Tensor, "channels *model"],
        shape: Sequence[int],
        spacing_mm: Sequence[float],
        new_spacing_mm: Sequence[float],
    ) -> Float[Tensor, "channels *box"]:
        """Carry logits to another grid as nnU-Net does, all of them at once."""
        resampled = self._configuration.resampling_fn_probabilities(logits.cpu(), shape, spacing_mm, new_spacing_mm)
        return torch.as_tensor(resampled)

    @staticmethod
    def separate_axis(
        spacing_mm: Sequence[float], new_spacing_mm: Sequence[float], options: dict[str, Any]
    ) -> int | None:
        """Axis across which nnU-Net would not interpolate, if there is one.

        Args:
            spacing_mm: Spacing that values have...
            new_spacing_mm: ... and are to get.
            options: ``force_separate_z`` and ``separate_z_anisotropy_threshold`` where the plans have them.
        """
        from nnunetv2.preprocessing.resampling.default_resampling import determine_do_sep_z_and_axis

        separate, axis = determine_do_sep_z_and_axis(
            current_spacing=list(spacing_mm), new_spacing=list(new_spacing_mm), **options
        )
        return int(axis) if separate else None


def check_installed() -> None:
    """Raise unless nnU-Net is there to be used.

    Raises:
        NnunetError: It is not.
    """
    if importlib.util.find_spec("nnunetv2") is None:
        raise NnunetError("models of nnU-Net need nnunetv2, which is not installed: pip install 'rankseg_med[nnunet]'")
