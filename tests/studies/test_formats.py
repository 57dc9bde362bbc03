"""How label maps are written and read back: one contract for every format."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rankseg_med.studies import (
    BidsFormat,
    DicomSegFormat,
    LabelMapFormat,
    NiftiFormat,
    RtstructFormat,
    StudyError,
    format_of,
    load_image,
)
from tests.studies.dicom_scenes import NAMES, segmented, write_scene

READABLE = [NiftiFormat(), DicomSegFormat(), DicomSegFormat(seg_type="labelmap")]
DICOM = [*READABLE[1:], RtstructFormat()]
FORMATS = [*READABLE, RtstructFormat(), BidsFormat(Path("/"))]


@pytest.fixture
def series(tmp_path):
    return write_scene(tmp_path / "series")


@pytest.mark.parametrize("format", FORMATS, ids=repr)
def test_whole_or_not_at_all(tmp_path, series, format, monkeypatch):
    assert isinstance(format, LabelMapFormat)
    (path, *_) = format.paths_in(tmp_path / "out", "case", [series])
    assert path.name.endswith(format.suffix)
    labels = torch.from_numpy(segmented(series)).long()
    format.check_source(series)
    format.write(labels, path, grid_of=series, names=NAMES)
    before = {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()}
    with pytest.raises(StudyError, match="never clipped"):
        format.write(labels * 200, path, grid_of=series, names=NAMES)
    with pytest.raises(StudyError, match="must have the shape"):
        format.write(labels[:-1], path, grid_of=series, names=NAMES)
    monkeypatch.setattr("os.fsync", _no_room)
    with pytest.raises(OSError, match="No space"):
        format.write(labels, path, grid_of=series, names=NAMES)
    assert {file: file.read_bytes() for file in (tmp_path / "out").rglob("*") if file.is_file()} == before


def _no_room(file: int) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("format", READABLE, ids=repr)
def test_what_was_written_is_read_back(tmp_path, series, format):
    labels, path = segmented(series), tmp_path / f"case{format.suffix}"
    format.write(labels, path, grid_of=series, names=NAMES)
    assert format_of(path) == format
    found = format_of(path).read(path, grid_of=series, names=NAMES)
    np.testing.assert_array_equal(found[0].numpy(), labels)
    np.testing.assert_allclose(found.affine, load_image(series).affine, atol=1e-4)
