import gzip
import hashlib
import os

import pytest

from rankseg_med.studies import content_digest, fingerprint


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


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        fingerprint([tmp_path / "absent"])


def test_digest_of_content(volume):
    assert content_digest(volume) == hashlib.sha256(volume.read_bytes()).hexdigest()
