"""What DICOM wants of label maps, and says where it cannot be had."""

import subprocess
import sys

import numpy as np
import pytest

from rankseg_med.errors import InputError
from rankseg_med.studies import DicomSegFormat, RtstructFormat, StudyError, format_of, read_structures
from tests.conftest import REPOSITORY
from tests.studies.dicom_scenes import NAMES, segmented, write_scene

DICOM = [DicomSegFormat(), DicomSegFormat(seg_type="labelmap"), RtstructFormat()]


@pytest.fixture
def series(tmp_path):
    return write_scene(tmp_path / "series")


@pytest.mark.parametrize("format", DICOM, ids=repr)
def test_dicom_wants_series_and_names(tmp_path, series, format):
    image = tmp_path / "image.nii.gz"
    image.write_bytes(b"")
    with pytest.raises(StudyError, match=f"one DICOM series to be segmented as {format.kind}"):
        format.check_source(image)
    with pytest.raises(InputError, match=f"{format.kind} must name every structure"):
        format.check_names(None)
    with pytest.raises(StudyError, match=r"every label must have a name, and 2 has none among \{1: 'liver'\}"):
        format.write(segmented(series), tmp_path / "case.dcm", grid_of=series, names={1: "liver"})
    assert not (tmp_path / "case.dcm").exists()


def test_a_config_that_speaks_of_other_names():
    format = DicomSegFormat(read_structures({"tumor": {"colour": [255, 0, 0]}}))
    with pytest.raises(InputError, match="there is no 'tumor' among the names of labels, liver, tumour"):
        format.check_names(NAMES)


@pytest.mark.parametrize("format", DICOM, ids=repr)
@pytest.mark.parametrize("missing", ["FrameOfReferenceUID", "StudyInstanceUID"])
def test_slices_that_nothing_can_refer_to(tmp_path, series, format, missing):
    import pydicom

    for file in series.iterdir():
        header = pydicom.dcmread(file)
        delattr(header, missing)
        header.save_as(file)
    with pytest.raises(StudyError, match=f"must have its {missing}"):
        format.write(segmented(series), tmp_path / "case.dcm", grid_of=series, names=NAMES)


@pytest.mark.parametrize("format", DICOM, ids=repr)
def test_headers_that_cannot_be_carried_over(tmp_path, format):
    series = write_scene(tmp_path / "series", t0010_0040="Z")
    with pytest.raises(StudyError, match="cannot be carried over"):
        format.write(segmented(series), tmp_path / "case.dcm", grid_of=series, names=NAMES)


@pytest.mark.parametrize("format", DICOM, ids=repr)
def test_a_slice_is_missing(tmp_path, series, format):
    labels = np.zeros_like(segmented(series))[:, :, 1:]
    (series / "4.dcm").unlink()
    with pytest.raises(StudyError, match="evenly spaced"):
        format.write(labels, tmp_path / "case.dcm", grid_of=series, names=NAMES)


@pytest.mark.parametrize("format", DICOM, ids=repr)
def test_the_extra_is_not_installed(tmp_path, series, format, monkeypatch):
    for module in [name for name in sys.modules if name.startswith("rankseg_med.studies.writers.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(InputError, match=r"pip install 'rankseg-med\[dicom\]'"):
        format.check_names(NAMES)
    with pytest.raises(InputError, match=r"pip install 'rankseg-med\[dicom\]'"):
        format.write(segmented(series), tmp_path / "case.dcm", grid_of=series, names=NAMES)


@pytest.mark.slow
def test_highdicom_is_imported_only_to_write():
    program = (
        "import sys\n"
        "from rankseg_med.studies import DicomSegFormat\n"
        "DicomSegFormat().check_names({1: 'liver'})\n"
        "assert 'highdicom' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)


def test_outlines_are_not_read_back(tmp_path, series):
    RtstructFormat().write(segmented(series), tmp_path / "case.dcm", grid_of=series, names=NAMES)
    assert format_of(tmp_path / "case.dcm") == RtstructFormat()
    with pytest.raises(StudyError, match="holds outlines, which are not read back as voxels"):
        RtstructFormat().read(tmp_path / "case.dcm", grid_of=series, names=NAMES)


@pytest.mark.parametrize("grid_of", [None, "image.nii.gz"])
def test_a_segmentation_is_read_on_its_series(tmp_path, series, grid_of):
    DicomSegFormat().write(segmented(series), tmp_path / "case.dcm", grid_of=series, names=NAMES)
    place = None if grid_of is None else tmp_path / grid_of
    with pytest.raises(StudyError, match="must be read on the DICOM series that it is of"):
        DicomSegFormat().read(tmp_path / "case.dcm", grid_of=place, names=NAMES)


def test_files_that_are_no_label_map(tmp_path, series):
    with pytest.raises(StudyError, match=r"must be a label map: NIfTI, DICOM-SEG or RTSTRUCT, got 'CT'"):
        format_of(series / "1.dcm")
    (tmp_path / "case.dcm").write_bytes(b"nothing")
    with pytest.raises(StudyError, match="cannot be read as DICOM"):
        format_of(tmp_path / "case.dcm")
    with pytest.raises(StudyError, match="there is no such file"):
        format_of(tmp_path / "gone.dcm")
