"""What there is to say of a structure beside its name: a colour, and for DICOM codes that other programs understand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rankseg_med.errors import InputError

PRIVATE_SCHEME = "99RANKSEG_MED"
"""Designator of the codes of names that have no other; DICOM leaves those that begin with 99 to whoever writes."""

LABEL_COLOURS = (
    *((214, 94, 0), (0, 115, 179), (0, 158, 115), (204, 120, 166)),
    *((87, 181, 232), (230, 158, 0), (240, 227, 66)),
)
"""Red, green and blue by turns, from Okabe and Ito, who are kind to colour-blind readers."""

_LONGEST_NAME = 64
_Text = Annotated[str, Field(coerce_numbers_to_str=True, min_length=1, max_length=_LONGEST_NAME)]
_Part = Annotated[int, Field(ge=0, le=255)]


class Code(NamedTuple):
    """A word of a coding scheme.

    Attributes:
        value: Such as ``"10200004"``.
        scheme: Designator of the scheme, such as ``"SCT"`` for SNOMED CT.
        meaning: In words, such as ``"Liver"``.
    """

    value: _Text
    scheme: Annotated[str, Field(min_length=1, max_length=16)]
    meaning: _Text


class StructureSettings(BaseModel):
    """What a config may say of a structure; what it does not say is as `structures_of` has it.

    Attributes:
        category: Kind of structure, such as DICOM's context group 7150 has them.
        type: What it is.
        anatomic_region: Where it lies, if its type does not say.
        colour: Red, green and blue, each from 0 to 255.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    category: Code | None = None
    type: Code | None = None
    anatomic_region: Code | None = None
    colour: tuple[_Part, _Part, _Part] | None = None


class Structure(NamedTuple):
    """A named label, and all that DICOM files say of it.

    Attributes:
        label: Value in label maps.
        name: Its name.
        category: As of `StructureSettings`.
        type: What it is.
        anatomic_region: Where it lies; None if its type says so, or nobody does.
        colour: Red, green and blue, each from 0 to 255.
    """

    label: int
    name: str
    category: Code
    type: Code
    anatomic_region: Code | None
    colour: tuple[int, int, int]


_ANATOMY = Code("91723000", "SCT", "Anatomical Structure")
_ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
_TISSUE = Code("85756007", "SCT", "Tissue")

# SNOMED CT, as DICOM has its words.
_ANATOMICAL = {
    **{"adrenal gland": "23451007", "aorta": "15825003", "bladder": "89837001", "blood vessel": "59820001"},
    **{"bone": "272673000", "brain": "12738006", "colon": "71854001", "duodenum": "38848004"},
    **{"esophagus": "32849002", "gallbladder": "28231008", "heart": "80891009", "hepatic vein": "8993003"},
    **{"hippocampus": "5366008", "inferior vena cava": "64131007", "kidney": "64033007", "liver": "10200004"},
    **{"lung": "39607008", "organ": "91772007", "pancreas": "15776009", "portal vein": "32764006"},
    **{"prostate": "41216001", "rectum": "34402009", "small intestine": "30315005", "spleen": "78961009"},
    **{"stomach": "69695003", "thyroid": "69748006", "trachea": "44567001", "vertebra": "51282000"},
}
_MORPHOLOGICAL = {
    **{"cyst": "367643001", "edema": "79654002", "lesion": "52988006", "mass": "4147007"},
    **{"necrosis": "6574001", "neoplasm": "108369006", "nodule": "27925004"},
}
_SYNONYMS = {"tumour": "neoplasm", "tumor": "neoplasm", "oedema": "edema", "oesophagus": "esophagus"}


def structures_of(
    names: Mapping[int, str], settings: Mapping[str, StructureSettings] | None = None
) -> tuple[Structure, ...]:
    """The structures of a label map in the order of their labels.

    A name that settings say nothing of gets SNOMED CT's code if it is one of a few dozen English words (``liver``,
    ``kidney``, ``tumour``, ``lesion``, ...; case, ``_`` and ``-`` do not count), else a code of its own, whose value
    is the name and whose scheme is `PRIVATE_SCHEME`; colours go by turns.

    Args:
        names: Label to name, without the background.
        settings: Name to what a config says of it.

    Raises:
        InputError: DICOM cannot hold a name.
    """
    for name in names.values():
        if not (name.isascii() and name.isprintable() and name.strip() and len(name) <= _LONGEST_NAME) or "\\" in name:
            raise InputError(
                f"the name of a structure must have 1 to {_LONGEST_NAME} signs of ASCII, no backslash among them, to "
                f"be written to DICOM, got {name!r}; rename it in the config's label_names or in dataset.json"
            )
    colours = colours_of(names, settings)
    return tuple(
        _structure(label, names[label], colours[label], (settings or {}).get(names[label])) for label in colours
    )


def colours_of(
    names: Mapping[int, str], settings: Mapping[str, StructureSettings] | None = None
) -> dict[int, tuple[int, int, int]]:
    """Label to red, green and blue, each from 0 to 255, in the order of the labels: as settings say, or by turns.

    Args:
        names: Label to name, without the background.
        settings: Name to what a config says of it.
    """
    said = {name: structure.colour for name, structure in (settings or {}).items()}
    return {
        label: said.get(names[label]) or LABEL_COLOURS[number % len(LABEL_COLOURS)]
        for number, label in enumerate(sorted(names))
    }


def check_structures(settings: Mapping[str, StructureSettings], names: Mapping[int, str]) -> None:
    """Raise unless a config speaks of structures that there are.

    Raises:
        InputError: It speaks of another one.
    """
    if strangers := sorted(settings.keys() - set(names.values())):
        raise InputError(
            f"structures: there is no {strangers[0]!r} among the names of labels, {', '.join(names.values())}; "
            "mend the config"
        )


def _structure(label: int, name: str, colour: tuple[int, int, int], settings: StructureSettings | None) -> Structure:
    said = settings or StructureSettings()
    category, type = _known(name)
    return Structure(label, name, said.category or category, said.type or type, said.anatomic_region, colour)


def _known(name: str) -> tuple[Code, Code]:
    """Category and type of a name."""
    word = " ".join(name.lower().replace("_", " ").replace("-", " ").split())
    word = _SYNONYMS.get(word, word)
    for category, codes in ((_ANATOMY, _ANATOMICAL), (_ABNORMAL, _MORPHOLOGICAL)):
        if word in codes:
            return category, Code(codes[word], "SCT", word.capitalize())
    return _TISSUE, Code(name, PRIVATE_SCHEME, name)


def read_structures(entry: Any) -> dict[str, StructureSettings]:  # noqa: ANN401 - whatever a config holds
    """What a config's entry ``structures`` says, by the names of the structures; null says nothing.

    Raises:
        InputError: It is no such entry; the message says which part and why.
    """
    if entry is None:
        return {}
    if not isinstance(entry, Mapping):
        raise InputError(f"must be null, or hold an entry for each name, got {entry!r}")
    structures = {}
    for name, settings in entry.items():
        try:
            structures[str(name)] = StructureSettings.model_validate(settings)
        except ValidationError as error:
            first = error.errors()[0]
            place = "::".join(map(str, (name, *first["loc"])))
            raise InputError(
                f"{place}: {first['msg']}, got {first['input']!r}; such as type: [10200004, SCT, Liver], "
                "colour: [221, 130, 101]"
            ) from error
    return structures
