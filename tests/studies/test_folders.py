"""What a pattern matches, by Python's glob, and what that passes over."""

import glob
from pathlib import Path

import pytest

from rankseg_med.studies.folders import PatternSearch


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in ("a/x.nii", "a/b/x.nii", "a/.hidden/x.nii", "c.d/x.nii", "[1]/x.nii", "x.nii", ".y.nii"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "dangling").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "pattern",
    [
        *("*", "**/*", "**/x.nii", "*/x.nii", "a/**/x.nii", "?/x.nii", "[ac]*/x.nii", "**/b/**/x.nii", "*/*", "gone/*"),
        *("a/x.nii/*", ".*", "./*", "**/**/x.nii", "*/../x.nii", "[[]1]/x.nii", "*.d/*", "!(a)", "[!a]/*", "x.nii"),
    ],
)
@pytest.mark.parametrize("absolute", [False, True])
def test_matches_what_glob_matches(tree, pattern, absolute):
    path = tree / pattern if absolute else Path(pattern)
    search = PatternSearch(path)
    assert search.found == sorted({Path(name) for name in glob.glob(str(path), recursive=True)})  # noqa: PTH207
    assert not search.errors


def test_a_link_to_where_it_lies_is_not_followed(tree):
    for name in ("up", "again"):
        (tree / "a" / name).symlink_to("..")
    found = PatternSearch(tree / "**" / "x.nii").found
    # Each folder once, and a once more by its link.
    places = ("[1]", "a", "a/b", "c.d", "link", "link/b")
    assert found == sorted([*(tree / place / "x.nii" for place in places), tree / "x.nii"])


def test_where_it_could_not_look_is_told(public_folder, as_another_user):
    for name in ("open", "shut", "listed"):
        (public_folder / name).mkdir()
        (public_folder / name / "x.nii").touch()
    (public_folder / "shut").chmod(0)
    (public_folder / "listed").chmod(0o444)
    (public_folder / "loop").symlink_to("loop")
    (public_folder / "dangling").symlink_to("nowhere")
    with as_another_user():
        search = PatternSearch(public_folder / "*" / "x.nii")
    assert search.found == [public_folder / "open" / "x.nii"]
    assert sorted(path.name for path in search.errors) == ["listed", "loop", "shut"]
