import os

import pytest

from rankseg_med.evaluation.patients import read_patients

CASES = {"p01_scan1", "p01_scan2", "p02_scan1"}
PATIENTS = {"p01_scan1": "p01", "p01_scan2": "p01", "p02_scan1": "p02"}


def test_by_pattern():
    assert read_patients("(.+)_scan", CASES) == PATIENTS


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_in_a_table(tmp_path, mark):
    """Spreadsheets put a byte order mark first, and columns of their own."""
    path = tmp_path / "patients.CSV"
    rows = [f"{patient},x,{case_id}" for case_id, patient in {**PATIENTS, "unused": "p09"}.items()]
    path.write_text("\n".join([f"{mark}patient_id,age,case_id", *rows]), encoding="utf-8")
    assert read_patients(str(path), CASES) == PATIENTS


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("p01", "needs exactly one group.*got 0"),
        ("(p)(.+)_", "needs exactly one group.*got 2"),
        ("(.+", "neither a .csv file nor a regular expression"),
        ("(p01)_", "gives no patient for p02_scan1"),
    ],
)
def test_patterns_that_will_not_do(source, message):
    with pytest.raises(ValueError, match=message):
        read_patients(source, CASES)


def test_files_that_are_no_tables(tmp_path):
    path = tmp_path / "patients.csv"
    os.mkfifo(path)
    with pytest.raises(ValueError, match=r"patients\.csv: is a FIFO, must be a regular file"):
        read_patients(str(path), CASES)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(ValueError, match=r"patients\.csv: is a device, must be a regular file"):
        read_patients(str(path), CASES)
    path.unlink()
    path.write_bytes(b"case_id,patient_id\n\xff,p\n")
    with pytest.raises(ValueError, match=r"patients\.csv: must be CSV in UTF-8"):
        read_patients(str(path), CASES)
    path.write_text("case_id,patient_id\n" + "x" * 200_000 + ",p\n")
    with pytest.raises(ValueError, match=r"patients\.csv: must be CSV in UTF-8 \(field larger"):
        read_patients(str(path), CASES)


def test_tables_that_will_not_do(tmp_path):
    path = tmp_path / "patients.csv"
    with pytest.raises(FileNotFoundError):
        read_patients(str(path), CASES)
    path.write_text("case,patient\n")
    with pytest.raises(ValueError, match=r"patients.csv: needs the columns case_id and patient_id, got \['case'"):
        read_patients(str(path), CASES)
    path.write_text("case_id,patient_id\np01_scan1,p01\np01_scan2,\n")
    with pytest.raises(ValueError, match="gives no patient for p01_scan2, p02_scan1"):
        read_patients(str(path), CASES)
