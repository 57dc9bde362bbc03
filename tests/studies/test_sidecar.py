import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankseg_med.studies import Sidecar, StudyError


def sidecar(**entries: object) -> Sidecar:
    given_entries = {
        "inputs": [],
        "input_fingerprint": "f",
        "config_digest": "d",
        "outputs": {"a.nii.gz": {"size_bytes": 3, "sha256": "0" * 64}},
    }
    return Sidecar(case_id="a", job="predict", status="done", time="t", host="h", **{**given_entries, **entries})


def test_read_back_as_written(tmp_path):
    written = sidecar(seconds=1.5, stage_seconds={"load": 0.5}, decisions=[{"threshold": None, "voxels": 3}])
    path = written.write(tmp_path)
    assert path == Sidecar.path_in(tmp_path, "a") == tmp_path / "a.json"
    assert Sidecar.read(path) == written
    assert Sidecar.read(path).details == {"decisions": [{"threshold": None, "voxels": 3}]}


@given(st.floats())
def test_numbers_are_not_lost_where_json_has_no_word_for_them(tmp_path_factory, value):
    path = sidecar(score=value).write(tmp_path_factory.mktemp("sidecar"))
    json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    read = float(Sidecar.read(path).details["score"])
    assert read == value or (math.isnan(read) and math.isnan(value))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"case_id": "a", "status": "perhaps"}'])
def test_anything_else_is_named(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(StudyError, match=r"a\.json: is not the sidecar of a study"):
        Sidecar.read(path)


def test_a_missing_one_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        Sidecar.read(tmp_path / "absent.json")
