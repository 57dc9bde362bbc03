"""What a series says of itself, in the order of its grid."""

import numpy as np
import pytest

from rankseg_med.studies import StudyError, load_image
from rankseg_med.studies.readers.dicom_source import SourceSeries
from tests.studies.dicom_scenes import DIRECTIONS, TILTED, write_scene


@pytest.mark.parametrize("kind", DIRECTIONS)
def test_slices_are_in_the_order_of_the_image(tmp_path, kind):
    series = write_scene(tmp_path / "series", kind)
    source = SourceSeries.read(series)
    image = load_image(series)
    for k, header in enumerate(source.slices):
        place = (image.affine.numpy() @ [0, 0, k, 1])[:3] * [-1, -1, 1]
        np.testing.assert_allclose(header.ImagePositionPatient, place, atol=1e-3)
    assert not any("PixelData" in header for header in source.slices)


@pytest.mark.parametrize(("kind", "distance_mm"), [("oblique", 2.5), (TILTED, 2.5 * np.cos(0.3))])
def test_slices_are_as_far_apart_as_they_lie(tmp_path, kind, distance_mm):
    series = write_scene(tmp_path / "series", kind, t0018_0088="7")
    for header in SourceSeries.read(series).slices:
        assert float(header.SpacingBetweenSlices) == pytest.approx(distance_mm, abs=1e-6)


def test_what_an_anonymiser_took_out_is_empty(tmp_path):
    (header, *_) = SourceSeries.read(write_scene(tmp_path / "series")).slices
    assert not header.PatientName
    assert not header.AccessionNumber


def test_faults_of_headers_name_the_series(tmp_path):
    source = SourceSeries.read(write_scene(tmp_path / "series"))
    message = r"series: its headers cannot be carried over to DICOM-SEG \(no sex\); mend"
    with pytest.raises(StudyError, match=message), source.blamed("DICOM-SEG"):
        raise ValueError("no  sex")
    with pytest.raises(StudyError, match=r"^another"), source.blamed("DICOM-SEG"):
        raise StudyError("another")
