import pytest

from rankseg_med.studies.atomic import atomic_folder


def write_half(target):
    with atomic_folder(target) as folder:
        (folder / "half.txt").write_text("half")
        raise RuntimeError


def test_complete_or_absent(tmp_path):
    target = tmp_path / "deep" / "folder"
    with pytest.raises(RuntimeError):
        write_half(target)
    assert list(target.parent.iterdir()) == []
    with atomic_folder(target) as folder:
        (folder / "whole.txt").write_text("whole")
        assert not target.exists()
    assert [path.name for path in target.parent.iterdir()] == ["folder"]
    assert (target / "whole.txt").read_text() == "whole"


def test_nothing_is_replaced_but_an_empty_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    with atomic_folder(tmp_path / "empty") as folder:
        (folder / "file").touch()
    with pytest.raises(FileExistsError, match="empty: is there already"), atomic_folder(tmp_path / "empty"):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError), atomic_folder(tmp_path / "file"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file"]
