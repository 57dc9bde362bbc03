"""Volumes of studies whose label maps were written in one format or another; NIfTI's are what the others must be."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rankseg_med.evaluation.run_report.study_record import StudyRecord
from rankseg_med.evaluation.run_report.volumes import viewed
from rankseg_med.studies import DicomSegFormat, NiftiFormat, RtstructFormat, Sidecar, StudyError
from tests.studies.dicom_scenes import NAMES, segmented, write_scene


@pytest.fixture
def series(tmp_path):
    return write_scene(tmp_path / "series" / "a", "oblique")


def recorded(path: Path, image: Path | None, names=NAMES, decisions=()) -> StudyRecord:
    details = {"label_names": {str(label): name for label, name in names.items()}, "decisions": list(decisions)}
    sidecar = Sidecar.model_validate(
        {
            **{"case_id": "a", "job": "predict", "status": "done", "inputs": [str(image)], "input_fingerprint": ""},
            **{"config_digest": "", "outputs": {}, "time": "", "host": "", **details},
        }
    )
    return StudyRecord("a", "done", sidecar=sidecar, label_map=path, image=image)


def written(format, labels: np.ndarray, series: Path, folder: Path, **given) -> Path:
    path = folder / f"a{format.suffix}"
    format.write(labels, path, grid_of=series, names=given.pop("names", NAMES), **given)
    return path


@pytest.mark.parametrize("seg_type", ["binary", "labelmap"])
def test_of_dicom_seg_there_is_what_there_is_of_nifti(tmp_path, series, seg_type):
    nifti = written(NiftiFormat(), segmented(series), series, tmp_path)
    dicom = written(DicomSegFormat(seg_type=seg_type), segmented(series), series, tmp_path)
    notes: list[str] = []
    wanted, found = (viewed(recorded(path, series), notes) for path in (nifti, dicom))
    assert not notes
    assert wanted.labels == [1, 2]
    np.testing.assert_array_equal(found.label_map, wanted.label_map)
    np.testing.assert_array_equal(found.grey, wanted.grey)
    np.testing.assert_allclose(found.affine, wanted.affine, atol=1e-3)
    assert (found.first_voxel, found.whole_shape) == (wanted.first_voxel, wanted.whole_shape)


def test_a_reference_beside_it(tmp_path, series):
    reference = written(NiftiFormat(), np.roll(segmented(series), 1, axis=0), series, tmp_path)
    dicom = written(DicomSegFormat(), segmented(series), series, tmp_path)
    record = recorded(dicom, series)
    found = viewed(
        StudyRecord("a", "done", sidecar=record.sidecar, label_map=dicom, image=series, reference=reference), []
    )
    differing = np.count_nonzero(found.others["reference"] != found.label_map)
    assert differing == np.count_nonzero(np.roll(segmented(series), 1, axis=0) != segmented(series))


@pytest.mark.parametrize("image", [None, "elsewhere"])
def test_a_series_that_is_gone(tmp_path, series, image):
    dicom = written(DicomSegFormat(), segmented(series), series, tmp_path)
    with pytest.raises(StudyError, match="must be read on the DICOM series that it is of"):
        viewed(recorded(dicom, None if image is None else tmp_path / image), [])


def test_outlines_have_no_pictures(tmp_path, series):
    outlines = written(RtstructFormat(), segmented(series), series, tmp_path)
    with pytest.raises(StudyError, match="holds outlines, which are not read back as voxels"):
        viewed(recorded(outlines, series), [])


def fractional(labels: np.ndarray, series: Path, folder: Path, probabilities: np.ndarray, names) -> Path:
    given = {"names": names, "probabilities": torch.from_numpy(probabilities)}
    return written(DicomSegFormat(seg_type="fractional"), labels, series, folder, **given)


def test_probabilities_of_one_structure_at_their_threshold(tmp_path, series):
    values = np.linspace(0, 1, segmented(series).size, dtype=np.float32).reshape(segmented(series).shape)
    decoded = values >= 0.3
    path = fractional(decoded.astype(np.uint8), series, tmp_path, values[None], {1: "tumour"})
    decision = {"labels": [1], "threshold": 0.3, "voxels": int(decoded.sum())}
    notes: list[str] = []
    found = viewed(recorded(path, series, {1: "tumour"}, [decision]), notes)
    (note,) = notes
    assert note.startswith("The file holds probabilities in place of a label map.")
    # 0.3 is 76.5 steps of 1/255: up to half a step is lost.
    assert 0 <= decoded.sum() - found.label_map.sum() <= np.ceil(0.5 / 255 * values.size)
    assert f"{found.label_map.sum()} voxels, where the label map had {decoded.sum()}" in note
    nothing = {"labels": [1], "threshold": None, "voxels": 0}
    assert not viewed(recorded(path, series, {1: "tumour"}, [nothing]), []).labels


def test_probabilities_that_a_threshold_says_too_little_of(tmp_path, series):
    labels = segmented(series)
    each = np.stack([labels == 1, labels == 2]).astype(np.float32)
    path = fractional(labels, series, tmp_path, each, NAMES)
    decisions = [{"labels": [label], "threshold": 0.5, "voxels": 5} for label in (1, 2)]
    with pytest.raises(StudyError, match="those of 2 structures do not say which one a voxel was given to"):
        viewed(recorded(path, series, NAMES, decisions), [])
    # Less than half a step, all are rounded to nothing.
    faint = np.full((1, *labels.shape), 0.001, np.float32)
    path = fractional(labels * 0, series, tmp_path, faint, {1: "tumour"})
    decision = {"labels": [1], "threshold": 0.001, "voxels": labels.size}
    with pytest.raises(StudyError, match=rf"0 voxels of them reach the threshold of 0.001, and {labels.size} were"):
        viewed(recorded(path, series, {1: "tumour"}, [decision]), [])
