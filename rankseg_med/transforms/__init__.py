"""MONAI array and dictionary transforms over the other rooms."""

from rankseg_med.transforms.axis_taps import AxisTaps, Beyond, resample_slices
from rankseg_med.transforms.calibrate import (
    CalibrateProbabilities,
    CalibrateProbabilitiesD,
    CalibrateProbabilitiesd,
    CalibrateProbabilitiesDict,
)
from rankseg_med.transforms.cleanup import (
    FillLabelHoles,
    FillLabelHolesD,
    FillLabelHolesd,
    FillLabelHolesDict,
    KeepLargestComponent,
    KeepLargestComponentD,
    KeepLargestComponentd,
    KeepLargestComponentDict,
    KeepTouching,
    KeepTouchingD,
    KeepTouchingd,
    KeepTouchingDict,
    RemoveSmallComponents,
    RemoveSmallComponentsD,
    RemoveSmallComponentsd,
    RemoveSmallComponentsDict,
)
from rankseg_med.transforms.distances import SignedDistances, SignedDistancesD, SignedDistancesd, SignedDistancesDict
from rankseg_med.transforms.errors import own_errors_of_transforms
from rankseg_med.transforms.load import LoadStudyD, LoadStudyd, LoadStudyDict
from rankseg_med.transforms.rankseg import RankSEG, RankSEGD, RankSEGd, RankSEGDict
from rankseg_med.transforms.spacing import (
    AxisSpacing,
    AxisSpacingD,
    AxisSpacingd,
    AxisSpacingDict,
    axis_coordinates,
    spacing_made_by,
)

__all__ = [
    "AxisSpacing",
    "AxisSpacingD",
    "AxisSpacingDict",
    "AxisSpacingd",
    "AxisTaps",
    "Beyond",
    "CalibrateProbabilities",
    "CalibrateProbabilitiesD",
    "CalibrateProbabilitiesDict",
    "CalibrateProbabilitiesd",
    "FillLabelHoles",
    "FillLabelHolesD",
    "FillLabelHolesDict",
    "FillLabelHolesd",
    "KeepLargestComponent",
    "KeepLargestComponentD",
    "KeepLargestComponentDict",
    "KeepLargestComponentd",
    "KeepTouching",
    "KeepTouchingD",
    "KeepTouchingDict",
    "KeepTouchingd",
    "LoadStudyD",
    "LoadStudyDict",
    "LoadStudyd",
    "RankSEG",
    "RankSEGD",
    "RankSEGDict",
    "RankSEGd",
    "RemoveSmallComponents",
    "RemoveSmallComponentsD",
    "RemoveSmallComponentsDict",
    "RemoveSmallComponentsd",
    "SignedDistances",
    "SignedDistancesD",
    "SignedDistancesDict",
    "SignedDistancesd",
    "axis_coordinates",
    "own_errors_of_transforms",
    "resample_slices",
    "spacing_made_by",
]
