import gzip
import hashlib
import json
import math
import os

import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from rankseg_med.studies import Sidecar, StudyError, content_digest, fingerprint


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


@pytest.fixture
def volume(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(os.urandom(400_000), mtime=0))
    return path


def test_the_same_file_wherever_it_lies_and_whenever_it_was_copied(volume, tmp_path):
    copy = tmp_path / "elsewhere" / volume.name
    copy.parent.mkdir()
    copy.write_bytes(volume.read_bytes())
    os.utime(copy, (0, 0))
    assert fingerprint([copy]) == fingerprint([volume])


def test_one_byte_in_the_middle_of_what_is_compressed_shows(volume):
    before = fingerprint([volume])
    content = bytearray(gzip.decompress(volume.read_bytes()))
    content[200_000] ^= 1
    volume.write_bytes(gzip.compress(bytes(content), mtime=0))
    assert fingerprint([volume]) != before


def test_a_plain_file_changed_in_the_middle_shows_by_its_time(tmp_path):
    path = tmp_path / "a.nii"
    path.write_bytes(bytes(400_000))
    os.utime(path, ns=(0, 1_000))
    before = fingerprint([path])
    path.write_bytes(bytes(200_000) + b"\1" + bytes(199_999))
    os.utime(path, ns=(0, 2_000))
    assert fingerprint([path]) != before


def test_names_order_and_folders(tmp_path):
    for name in ("a.dcm", "b.dcm"):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (0, 0))
    a, b = tmp_path / "a.dcm", tmp_path / "b.dcm"
    assert len({fingerprint([a]), fingerprint([b]), fingerprint([a, b]), fingerprint([b, a])}) == 4
    assert fingerprint([tmp_path]) == fingerprint([a, b])


def same_time(*paths):
    for path in paths:
        os.utime(path, (0, 0))


@pytest.mark.parametrize(("named", "changed"), [(".hdr", ".img"), (".img", ".hdr")])
def test_both_halves_of_a_pair_count(tmp_path, named, changed):
    for suffix in (".hdr", ".img"):
        (tmp_path / f"a{suffix}").write_bytes(bytes(400))
        (tmp_path / f"a.b{suffix}").write_bytes(bytes(400))  # another pair
    same_time(*tmp_path.iterdir())
    before = fingerprint([tmp_path / f"a{named}"])
    (tmp_path / f"a.b{changed}").write_bytes(b"1" + bytes(399))
    same_time(*tmp_path.iterdir())
    assert fingerprint([tmp_path / f"a{named}"]) == before
    (tmp_path / f"a{changed}").write_bytes(b"1" + bytes(399))
    same_time(*tmp_path.iterdir())
    assert fingerprint([tmp_path / f"a{named}"]) != before


def test_the_voxels_behind_a_detached_header_count(tmp_path):
    image = SimpleITK.GetImageFromArray(np.zeros((3, 4, 5), np.int16))
    SimpleITK.WriteImage(image, str(tmp_path / "a.mhd"))
    same_time(*tmp_path.iterdir())
    before = fingerprint([tmp_path / "a.mhd"])
    assert (tmp_path / "a.raw").stat().st_size == 120
    (tmp_path / "a.raw").write_bytes(b"1" + bytes(119))
    same_time(*tmp_path.iterdir())
    assert fingerprint([tmp_path / "a.mhd"]) != before
    (tmp_path / "a.raw").unlink()
    fingerprint([tmp_path / "a.mhd"])  # that it lacks its voxels is for the reader to say


def test_a_folder_in_a_series_changes_nothing_and_lost_slices_show(tmp_path):
    for number in range(4):
        (tmp_path / f"{number}.dcm").write_text(str(number))
    before = fingerprint([tmp_path])
    (tmp_path / "thumbnails").mkdir()
    (tmp_path / ".hidden").write_text("")
    assert fingerprint([tmp_path]) == before
    (tmp_path / "3.dcm").unlink()
    assert fingerprint([tmp_path]) != before


def test_what_is_no_file_has_no_fingerprint(tmp_path):
    os.mkfifo(tmp_path / "a.nii")
    with pytest.raises(StudyError, match=r"a\.nii: is a FIFO, must be a regular file"):
        fingerprint([tmp_path / "a.nii"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(StudyError, match="got no file in it"):
        fingerprint([tmp_path / "empty"])


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        fingerprint([tmp_path / "absent"])


def test_digest_of_content(volume):
    assert content_digest(volume) == hashlib.sha256(volume.read_bytes()).hexdigest()
