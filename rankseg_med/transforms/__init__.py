"""MONAI array and dictionary transforms over the other rooms."""

from rankseg_med.transforms.largest_component import (
    KeepLargestComponent,
    KeepLargestComponentD,
    KeepLargestComponentd,
    KeepLargestComponentDict,
)
from rankseg_med.transforms.load import LoadStudyD, LoadStudyd, LoadStudyDict
from rankseg_med.transforms.rankseg import RankSEG, RankSEGD, RankSEGd, RankSEGDict

__all__ = [
    "KeepLargestComponent",
    "KeepLargestComponentD",
    "KeepLargestComponentDict",
    "KeepLargestComponentd",
    "LoadStudyD",
    "LoadStudyDict",
    "LoadStudyd",
    "RankSEG",
    "RankSEGD",
    "RankSEGDict",
    "RankSEGd",
]
