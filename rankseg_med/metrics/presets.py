"""How well-known challenges and papers score, under the name of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rankseg_med.errors import InputError
from rankseg_med.metrics.empty import EMPTY_POLICIES, EmptyPolicy, EmptyRule
from rankseg_med.metrics.lits import LITS
from rankseg_med.metrics.preset import Preset
from rankseg_med.metrics.regions import Region
from rankseg_med.metrics.scoring import Scoring

_KITS, _BRATS = "kits", "brats"


def _brats(name: str, labels: str, *, core: int, oedema: int, enhancing: int) -> Preset:
    """BraTS's nested regions, of which every label occurs in the whole tumour."""
    return Preset(
        name,
        f"BraTS {labels}: Dice, HD95, sensitivity, precision; one empty 0 and 374 mm.",
        Scoring(("dice", "hd95_mm", "sensitivity", "precision"), empty_policy=EMPTY_POLICIES["brats"]),
        (
            Region("whole_tumour", tuple(sorted((core, oedema, enhancing)))),
            Region("tumour_core", (core, enhancing)),
            Region("enhancing_tumour", (enhancing,)),
        ),
        challenge=_BRATS,
    )


# The papers' 95HD is MedPy's, which pools both directions.
_BCP_METRICS = ("dice", "jaccard", "hd95_pooled_mm", "hd95_mm", "asd_prediction_to_reference_mm")

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
            challenge=_KITS,
            other_labels="the script of KiTS19 counts every label above 0 as kidney and above 1 as tumour",
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
            challenge=_KITS,
        ),
        LITS,
        _brats("brats2020", "2017 to 2021 (1 necrotic core, 2 oedema, 4 enhancing)", core=1, oedema=2, enhancing=4),
        _brats("brats2023", "2023 (1 necrotic core, 2 oedema, 3 enhancing)", core=1, oedema=2, enhancing=3),
        _brats(
            "brats-nnunet",
            "as nnU-Net and the Medical Segmentation Decathlon store it (1 oedema, 2 necrotic core, 3 enhancing)",
            core=2,
            oedema=1,
            enhancing=3,
        ),
        Preset(
            "bcp",
            "BCP and other semi-supervised papers: Dice, Jaccard, HD95 (theirs is pooled), ASD in voxels; an empty "
            "prediction scores 0.",
            Scoring(_BCP_METRICS, empty_policy=_BCP_POLICY),
            unit_spacing=True,
        ),
    )
}
"""Name to preset."""


def find_preset(name: str) -> Preset:
    """One of `PRESETS`.

    Raises:
        ValueError: there is none of that name, or it is a challenge whose labels have meant different things.
    """
    if name in PRESETS:
        return PRESETS[name]
    choices = [f"{preset.name}: {preset.description}" for preset in PRESETS.values() if preset.challenge == name]
    if choices:
        raise InputError("\n- ".join([f"The preset {name} does not say what the labels mean; give one of:", *choices]))
    raise InputError(f"the presets are {', '.join(PRESETS)}, got {name!r}")


def label_fault(preset: Preset, labels: Collection[int]) -> str | None:
    """Why a label map is not one that a preset is for, and which preset is likelier; None if it is.

    Args:
        preset: preset; only one of several of a challenge says what every label means.
        labels: those that the label map holds, 0 apart.
    """
    if preset.challenge is None or preset.labels.issuperset(labels):
        return None
    of_challenge = [other for other in PRESETS.values() if other.challenge == preset.challenge]
    fitting = [other.name for other in of_challenge if other.labels.issuperset(labels)]
    original = f", and {preset.other_labels}" if preset.other_labels else ""
    likely = f"these would be labels of the preset {' or '.join(fitting)}" if fitting else "give regions of your own"
    return (
        f"holds the labels {_listed(labels)}, but the preset {preset.name} knows {_listed(preset.labels)} alone"
        f"{original}; {likely}"
    )


def _listed(labels: Collection[int]) -> str:
    return ", ".join(map(str, sorted(labels)))
