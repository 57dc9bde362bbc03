"""Calibration of probabilities as MONAI transforms."""

from __future__ import annotations

from pathlib import Path

import torch
from monai.config import KeysCollection
from monai.config.type_definitions import NdarrayOrTensor
from monai.transforms import Transform
from monai.utils import convert_to_dst_type, convert_to_tensor
from monai.utils.enums import TransformBackends

from rankseg_med.calibration import Calibration, load_calibration
from rankseg_med.transforms.on_each_key import OnEachKey


class CalibrateProbabilities(Transform):
    """Make probabilities ones that can be taken at their word, before they are decoded.

    Stands between ``Activations(softmax=True)`` and [`RankSEG`][rankseg_med.transforms.RankSEG].

    Args:
        calibration: An [`IsotonicCalibration`][rankseg_med.calibration.IsotonicCalibration] or
            [`Temperature`][rankseg_med.calibration.Temperature], or the path of its file.

    Raises:
        CalibrationError: The file cannot be used.
    """

    backend = (TransformBackends.TORCH,)

    def __init__(self, calibration: Calibration | str | Path) -> None:
        self.calibration = calibration if isinstance(calibration, Calibration) else load_calibration(Path(calibration))

    def __call__(self, img: NdarrayOrTensor) -> NdarrayOrTensor:
        """Calibrate one volume.

        Args:
            img: Probabilities ``(classes, *spatial)``, floating point, channel 0 the background (unless the calibration
                is of independent channels).

        Returns:
            As many, float32, of the same kind (array, tensor, MetaTensor with its metadata) and on the same device.

        Raises:
            ValueError, TypeError: Another number of classes, or not floating point.
        """
        probabilities = self.calibration.probabilities(convert_to_tensor(img, track_meta=False))
        return convert_to_dst_type(probabilities, dst=img, dtype=torch.float32)[0]


class CalibrateProbabilitiesd(OnEachKey):
    """Dictionary form of [`CalibrateProbabilities`][rankseg_med.transforms.CalibrateProbabilities].

    Args:
        keys: Keys of probability volumes ``(classes, *spatial)``; each is replaced.
        calibration: Calibration, as for `CalibrateProbabilities`.
        allow_missing_keys: Whether keys may be absent.

    Examples:
        >>> import torch
        >>> from monai.transforms import Activationsd, Compose
        >>> from rankseg_med.calibration import IsotonicCalibration
        >>> from rankseg_med.transforms import RankSEGd
        >>> decode = Compose(
        ...     [
        ...         Activationsd("pred", softmax=True),
        ...         CalibrateProbabilitiesd("pred", IsotonicCalibration(3)),  # or "calibration.json"
        ...         RankSEGd("pred"),
        ...     ]
        ... )
        >>> decode({"pred": torch.randn(3, 16, 16, 16)})["pred"].shape
        torch.Size([1, 16, 16, 16])
    """

    backend = CalibrateProbabilities.backend

    def __init__(
        self, keys: KeysCollection, calibration: Calibration | str | Path, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, CalibrateProbabilities(calibration), allow_missing_keys)


CalibrateProbabilitiesD = CalibrateProbabilitiesDict = CalibrateProbabilitiesd
