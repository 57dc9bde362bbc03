"""How well-known challenges and papers score a case, under the name of each.

Of LiTS only the scores of a case are here; its results are more than means over cases, see `rankseg_med.metrics.lits`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rankseg_med.metrics.empty import EMPTY_POLICIES, EmptyPolicy, EmptyRule
from rankseg_med.metrics.lits import LITS_REGIONS, LITS_SCORING
from rankseg_med.metrics.regions import Region
from rankseg_med.metrics.scoring import Scoring


@dataclass(frozen=True)
class Preset:
    """The scoring of a challenge or of a line of papers.

    All of them average each metric over the cases of a region, then over the regions. Where they leave cases out
    (KiTS23 and BCP ignore a missing prediction, nnU-Net may), this package reports a failure instead.

    Attributes:
        name: what users and reports call it.
        description: what it scores, in one line.
        scoring: metrics, surface and policy for empty masks.
        regions: what is scored, with the tolerance of surface Dice; None where every data set has its own.
        unit_spacing: measure in voxels instead of millimetres, whatever the spacing. Columns keep the ending ``_mm``.
    """

    name: str
    description: str
    scoring: Scoring
    regions: tuple[Region, ...] | None = None
    unit_spacing: bool = False


_BRATS_METRICS = ("dice", "hd95_mm", "sensitivity", "precision")
_BCP_METRICS = ("dice", "jaccard", "hd95_mm", "asd_prediction_to_reference_mm")

# The papers' test code leaves the scores of an empty prediction at (0, 0, 0, 0), and crashes where only the reference
# is empty; that case gets the worst score here, since no organ's absence should look perfect.
_BCP_OVERLAP = EmptyRule(both_empty=0.0, prediction_empty=0.0, reference_empty="worst")
_BCP_POLICY = EmptyPolicy("bcp", overlap=_BCP_OVERLAP, distance=_BCP_OVERLAP)

PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "nnunet",
            "nnU-Net v2: Dice and IoU of every label or region; undefined where both sides are empty.",
            Scoring(("dice", "jaccard"), empty_policy=EMPTY_POLICIES["nnunet"]),
        ),
        Preset(
            "kits19",
            "KiTS19: Dice of the kidney with its tumour and of the tumour; both empty 1 (its script gives NaN).",
            Scoring(("dice",), empty_policy=EMPTY_POLICIES["kits"]),
            (Region("kidney", (1, 2)), Region("tumour", (2,))),
        ),
        Preset(
            "kits23",
            "KiTS21 and KiTS23: Dice and surface Dice of three nested regions; both empty 1, one empty 0.",
            Scoring(("dice", "surface_dice"), surface="surfels", empty_policy=EMPTY_POLICIES["kits"]),
            (
                Region("kidney_and_mass", (1, 2, 3), tolerance_mm=1.0330772532390826),
                Region("mass", (2, 3), tolerance_mm=1.1328796488598762),
                Region("tumour", (2,), tolerance_mm=1.1498198361434828),
            ),
        ),
        Preset(
            "lits",
            "LiTS: overlap, volume and surfaces of the liver and of its lesions, and the results of the data set.",
            LITS_SCORING,
            LITS_REGIONS,
        ),
        Preset(
            "brats",
            "BraTS (labels up to 2023: 1 core, 2 oedema, 3 enhancing): Dice, HD95, sensitivity, precision; "
            "one empty 0 and 374 mm.",
            Scoring(_BRATS_METRICS, empty_policy=EMPTY_POLICIES["brats"]),
            (
                Region("whole_tumour", (1, 2, 3)),
                Region("tumour_core", (1, 3)),
                Region("enhancing_tumour", (3,)),
            ),
        ),
        Preset(
            "bcp",
            "BCP and other semi-supervised papers: Dice, Jaccard, HD95, ASD in voxels; an empty prediction scores 0.",
            Scoring(_BCP_METRICS, empty_policy=_BCP_POLICY),
            unit_spacing=True,
        ),
    )
}
"""Name to preset."""


def find_preset(name: str) -> Preset:
    """One of `PRESETS`.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in PRESETS:
        raise ValueError(f"The presets are {', '.join(PRESETS)}, got {name!r}.")
    return PRESETS[name]
