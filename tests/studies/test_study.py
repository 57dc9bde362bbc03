from pathlib import Path

import pytest

from rankseg_med.studies import StudyError, case_id, check_case_id


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("liver_7.nii.gz", "liver_7"),
        ("liver_7.nii", "liver_7"),
        ("liver_7.img", "liver_7"),
        ("liver_7.HDR", "liver_7"),
        ("LIVER.NII.GZ", "LIVER"),
        ("a.b.1.nii.gz", "a.b.1"),
        ("case_0000.nii.gz", "case_0000"),
        ("twice.nii.nii", "twice.nii"),
        ("scan.nrrd", "scan"),
        ("scan.MHA", "scan"),
        ("scan.mhd", "scan"),
        ("notes.txt", "notes.txt"),
    ],
)
def test_case_id_is_the_name_less_the_suffix(name, identifier):
    assert case_id(Path("some.nii") / name) == identifier


@pytest.mark.parametrize("identifier", ["", ".", "..", "a/b", "../a", "a\\b", "/etc", "a\0"])
def test_ids_that_leave_the_output_folder(identifier):
    with pytest.raises(StudyError, match="case id"):
        check_case_id(identifier)


@pytest.mark.parametrize("identifier", ["a\nb", "\x1b[2J", "x" * 201, "Ü" * 101])
def test_ids_that_mislead_or_are_too_long(identifier):
    with pytest.raises(StudyError, match="must print and have at most 200 bytes"):
        check_case_id(identifier)


@pytest.mark.parametrize("identifier", ["x" * 200, "a", "a..b", "...", "Fall Ü 3"])
def test_ids_that_name_a_file(identifier):
    assert check_case_id(identifier) == identifier
