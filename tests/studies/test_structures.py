"""Codes of structures, against DICOM's own dictionary of SNOMED CT."""

import pytest
from pydicom.sr.codedict import codes

from rankseg_med.errors import InputError
from rankseg_med.studies import read_structures
from rankseg_med.studies.structures import LABEL_COLOURS, PRIVATE_SCHEME, structures_of

IN_DICOM = {
    **{
        "liver": codes.SCT.Liver,
        "kidney": codes.SCT.Kidney,
        "pancreas": codes.SCT.Pancreas,
        "spleen": codes.SCT.Spleen,
    },
    **{"tumour": codes.SCT.Neoplasm, "Tumor": codes.SCT.Neoplasm, "lesion": codes.SCT.Lesion, "cyst": codes.SCT.Cyst},
    **{"blood_vessel": codes.SCT.BloodVessel, "inferior-vena-cava": codes.SCT.InferiorVenaCava},
    **{"adrenal gland": codes.SCT.AdrenalGland, "hepatic vein": codes.SCT.HepaticVein, "edema": codes.SCT.Edema},
    **{"small intestine": codes.SCT.SmallIntestine, "oesophagus": codes.SCT.Esophagus, "organ": codes.SCT.Organ},
    **{"portal vein": codes.SCT.PortalVein, "hippocampus": codes.SCT.Hippocampus, "necrosis": codes.SCT.Necrosis},
    **{"aorta": codes.SCT.Aorta, "bladder": codes.SCT.Bladder, "bone": codes.SCT.Bone, "brain": codes.SCT.Brain},
    **{"colon": codes.SCT.Colon, "duodenum": codes.SCT.Duodenum, "gallbladder": codes.SCT.Gallbladder},
    **{"heart": codes.SCT.Heart, "lung": codes.SCT.Lung, "prostate": codes.SCT.Prostate, "rectum": codes.SCT.Rectum},
    **{"stomach": codes.SCT.Stomach, "thyroid": codes.SCT.Thyroid, "trachea": codes.SCT.Trachea},
    **{"vertebra": codes.SCT.Vertebra, "mass": codes.SCT.Mass, "nodule": codes.SCT.Nodule},
}
ABNORMAL = {"tumour", "Tumor", "lesion", "cyst", "edema", "necrosis", "mass", "nodule"}


@pytest.mark.parametrize("name", IN_DICOM)
def test_words_have_dicoms_codes(name):
    (structure,) = structures_of({1: name})
    assert (structure.type.value, structure.type.scheme) == (IN_DICOM[name].value, "SCT")
    assert structure.type.meaning.lower() == IN_DICOM[name].meaning.lower()
    category = codes.SCT.MorphologicallyAbnormalStructure if name in ABNORMAL else codes.SCT.AnatomicalStructure
    assert (structure.category.value, structure.category.meaning) == (category.value, category.meaning)


def test_other_names_are_codes_of_their_own():
    (structure,) = structures_of({3: "Left kidney, upper pole"})
    assert structure.type == ("Left kidney, upper pole", PRIVATE_SCHEME, "Left kidney, upper pole")
    assert structure.category.value == codes.SCT.Tissue.value
    assert PRIVATE_SCHEME.startswith("99")
    assert len(PRIVATE_SCHEME) <= 16


def test_what_a_config_says_comes_first():
    said = read_structures(
        {
            "duct": {"type": [73829009, "SCT", "Common bile duct"], "colour": [1, 2, 3]},
            "tumour": {"anatomic_region": ["10200004", "SCT", "Liver"]},
        }
    )
    tumour, duct = structures_of({4: "duct", 2: "tumour"}, said)
    assert (tumour.label, duct.label) == (2, 4)
    assert duct.type == ("73829009", "SCT", "Common bile duct")
    assert duct.colour == (1, 2, 3)
    assert tumour.type.value == codes.SCT.Neoplasm.value
    assert tumour.anatomic_region == ("10200004", "SCT", "Liver")
    assert tumour.colour == LABEL_COLOURS[0]


def test_colours_go_by_turns():
    found = [structure.colour for structure in structures_of({label: f"s{label}" for label in range(1, 10)})]
    assert found[:7] == list(LABEL_COLOURS)
    assert found[7:] == list(LABEL_COLOURS[:2])


@pytest.mark.parametrize("name", ["", "  ", "a\\b", "Läsion", "a\nb", "x" * 65])
def test_names_that_dicom_cannot_hold(name):
    with pytest.raises(InputError, match="name of a structure"):
        structures_of({1: name})


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (["liver"], "must be null, or hold an entry for each name"),
        ({"liver": {"type": [10200004, "SCT"]}}, "liver::type"),
        ({"liver": {"type": [10200004, "SNOMED CLINICAL TERMS", "Liver"]}}, "liver::type"),
        ({"liver": {"colour": [0, 0, 256]}}, "liver::colour::2"),
        ({"liver": {"color": [0, 0, 0]}}, "liver::color"),
        ({"liver": "10200004"}, "liver: "),
    ],
)
def test_entries_that_cannot_be_used(entry, message):
    with pytest.raises(InputError, match=message):
        read_structures(entry)


def test_no_entry():
    assert read_structures(None) == {}
