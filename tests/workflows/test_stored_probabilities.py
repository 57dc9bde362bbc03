"""What is on record of a decoding's input, after a way through JSON."""

import json
from pathlib import Path

import pytest

from rankseg_med.decode import RegionChannels
from rankseg_med.studies import ProbabilityStudy
from rankseg_med.workflows import StoredProbabilities

FILES = (Path("p/a_0.nii.gz"), Path("p/a_1.nii.gz"))
STUDIES = [
    ProbabilityStudy("a", FILES, FILES[0], "CXYZ"),
    ProbabilityStudy("a", (Path("p/a.npz"),), Path("i/ä.nii.gz"), "CZYX", image=Path("i/ä.nii.gz")),
    ProbabilityStudy("a", (Path("p/a.npy"),), None, "CZYX"),
]


@pytest.mark.parametrize("study", STUDIES, ids=["nifti", "array with an image", "array without a grid"])
@pytest.mark.parametrize("regions", [None, RegionChannels.of([[1, 2], [2]])])
def test_it_is_read_again(study, regions):
    entries = json.loads(json.dumps(StoredProbabilities.of(study, regions).entries))
    found = StoredProbabilities.recorded_in({"decoder": "...", **entries})
    assert found.study("a") == study
    assert found.regions == regions


@pytest.mark.parametrize("details", [{}, {"probabilities": {"files": ["a.npz"]}}, {"probabilities": 3}])
def test_records_of_something_else(details):
    assert StoredProbabilities.recorded_in(details) is None
