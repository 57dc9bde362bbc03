import errno
import json
import math
import os
import platform
import subprocess
import sys
import time

import pytest

from rankseg_med.studies import (
    atomic_folder,
    atomic_write,
    birth_of,
    is_running,
    remove_unfinished,
    write_json,
    write_text,
)


def test_the_name_appears_only_when_complete(tmp_path):
    path = tmp_path / "new" / "folders" / "case.nii.gz"
    with atomic_write(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.name.startswith(".")
        assert temporary.name.endswith("case.nii.gz")
        temporary.write_text("done")
        assert not path.exists()
    assert path.read_text() == "done"
    assert list(path.parent.iterdir()) == [path]


def test_takes_a_string(tmp_path):
    with atomic_write(f"{tmp_path}/a.json") as temporary:
        temporary.write_text("{}")
    assert (tmp_path / "a.json").read_text() == "{}"


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("wrote", [True, False])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, failure, wrote):
    path = tmp_path / "case.nii.gz"
    path.write_text("old")

    def write_and_fail():
        with atomic_write(path) as temporary:
            if wrote:
                temporary.write_text("half")
            raise failure

    with pytest.raises(failure):
        write_and_fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_body_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="case"), atomic_write(tmp_path / "case.json"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_stays(tmp_path):
    (tmp_path / "case.json").mkdir()
    with pytest.raises(OSError, match=r"case\.json"), atomic_write(tmp_path / "case.json") as temporary:
        temporary.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == ["case.json"]


def test_two_writers_of_one_file_do_not_share_a_temporary(tmp_path):
    path = tmp_path / "a.txt"
    with atomic_write(path) as first, atomic_write(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"


@pytest.mark.parametrize("below", ["out", "out/deeper"])
def test_a_folder_that_cannot_be_made_is_named(tmp_path, below):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / below
    with pytest.raises(OSError, match=f"output folder.*{folder}"), atomic_write(folder / "a.json"):
        pytest.fail("the body must not run")


def test_the_content_is_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    named_at_sync = []
    monkeypatch.setattr("os.fsync", lambda _: named_at_sync.append(path.exists()))
    with atomic_write(path) as temporary:
        temporary.write_text("{}")
    assert named_at_sync == [False]


@pytest.mark.slow
def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path, killed_while_writing):
    path = tmp_path / "case [1].nii.gz"
    leftover = killed_while_writing(path)
    others = [tmp_path / name for name in (".hidden.case [1].nii.gz", leftover.name.replace("[1]", "[2]"))]
    for other in others:
        other.write_text("not ours")
    with atomic_write(path) as under_way:
        under_way.write_text("new")
        remove_unfinished([path])
        assert not leftover.exists()
    assert sorted(tmp_path.iterdir()) == sorted([*others, path])


@pytest.mark.parametrize("host", ["another-machine", None])
def test_leftovers_of_what_may_still_be_written_are_given_a_day(tmp_path, host):
    path, name = tmp_path / "a.json", f".0123abcd.{os.getpid()}@{host or platform.node()}@.a.json"
    (tmp_path / name).write_text("half")
    remove_unfinished([path])
    assert (tmp_path / name).exists()
    yesterday = time.time() - 25 * 3600
    os.utime(tmp_path / name, (yesterday, yesterday))
    remove_unfinished([path])
    assert not (tmp_path / name).exists()


def test_folders_that_are_not_there_hold_no_leftovers(tmp_path):
    remove_unfinished([tmp_path / "absent" / "a.json"])


def test_a_full_disk_is_told_with_the_name_of_the_file(tmp_path):
    with (
        pytest.raises(OSError, match=r"No space left on device: '.*label\.nii\.gz'"),
        atomic_write(tmp_path / "label.nii.gz"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")  # as zlib and nibabel do
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("host", ["n" * 64, "n" * 300, "ü" * 64, "a/b@c d", ""])
@pytest.mark.parametrize(
    "name", ["x" * 200 + "_confidence.nii.gz", "ü" * 100 + ".nii.gz", "x" * 250 + ".json", "a.json"]
)
def test_names_and_hosts_of_any_length(tmp_path, monkeypatch, host, name):
    monkeypatch.setattr(platform, "node", lambda: host)
    with atomic_write(tmp_path / name) as temporary:
        assert len(os.fsencode(temporary.name)) <= 255
        assert temporary.name.endswith(name[-12:])
        temporary.write_text("done")
        remove_unfinished([tmp_path / name])
        assert temporary.exists()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.slow
def test_what_was_left_of_a_long_name_is_removed(tmp_path, killed_while_writing):
    path, other = (tmp_path / f"{first}{'x' * 199}_confidence.nii.gz" for first in "ab")
    leftover = killed_while_writing(path)
    remove_unfinished([other])
    assert leftover.exists()
    remove_unfinished([path])
    assert not leftover.exists()


@pytest.mark.parametrize("process", ["9" * 21, "9" * 200, str(2**31), str(2**63), "0", "00"])
def test_an_absurd_process_runs_no_more(tmp_path, process):
    leftover = tmp_path / f".0123abcd.{process}@{platform.node()}@.a"
    leftover.write_text("half")
    remove_unfinished([tmp_path / "a"])
    assert not leftover.exists()


@pytest.mark.parametrize(
    "name", [".0123abcd.-5@host@.a", ".0123abcd.5@host@a", ".0123ABCD.5@h@.a", ".0123abcd.\u0665@h@.a"]
)
def test_what_only_looks_alike_is_left(tmp_path, name):
    (tmp_path / name).write_text("not ours")
    os.utime(tmp_path / name, (0, 0))
    remove_unfinished([tmp_path / "a"])
    assert (tmp_path / name).exists()


@pytest.mark.parametrize("kind", ["folder", "link", "link to nothing", "fifo"])
def test_what_is_no_file_is_left_and_told(tmp_path, kind, caplog):
    target = tmp_path / "target"
    target.write_text("not ours")
    odd = tmp_path / f".0123abcd.{2**30}@{platform.node()}@.a"
    {
        "folder": odd.mkdir,
        "link": lambda: odd.symlink_to(target),
        "link to nothing": lambda: odd.symlink_to("nowhere"),
        "fifo": lambda: os.mkfifo(odd),
    }[kind]()
    remove_unfinished([tmp_path / "a"])
    assert os.path.lexists(odd)
    assert target.read_text() == "not ours"
    assert [f"{odd}: has the name of an unfinished file" in record.message for record in caplog.records] == [True]


def test_where_nothing_may_be_looked_into_or_removed_nothing_is(public_folder, as_another_user, caplog):
    leftover = public_folder / f".0123abcd.{2**30}@{platform.node()}@.a"
    leftover.write_text("half")
    with as_another_user():
        remove_unfinished([public_folder / "a"])
    assert f"{leftover}: an unfinished file that cannot be removed" in caplog.records[-1].message
    public_folder.chmod(0)
    with as_another_user():
        remove_unfinished([public_folder / "a"])
    assert f"{public_folder}: cannot be searched for unfinished files" in caplog.records[-1].message
    assert leftover.exists()


@pytest.mark.parametrize("folder", ["file", "loop", "x" * 300])
def test_what_is_no_folder_holds_no_leftovers(tmp_path, folder):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    remove_unfinished([tmp_path / folder / "a.json"])


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


def test_undefined_is_null(tmp_path):
    content = {"a": math.nan, "b": [1.5, (math.nan, "nan")], "c": {"d": math.nan, "e": True, "f": None}}
    write_json(content, tmp_path / "file.json")
    read = json.loads((tmp_path / "file.json").read_text())
    assert read == {"a": None, "b": [1.5, [None, "nan"]], "c": {"d": None, "e": True, "f": None}}


def test_infinite_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json({"a": math.inf}, tmp_path / "file.json")
    assert list(tmp_path.iterdir()) == []


def test_this_process_and_no_later_one_of_its_number():
    born = birth_of(os.getpid())
    assert is_running(os.getpid())
    assert is_running(os.getpid(), born)
    assert not is_running(os.getpid(), "1")


def test_a_killed_process_is_dead_before_its_parent_has_asked():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert is_running(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not is_running(process.pid)
    process.communicate()
    assert not is_running(process.pid)


@pytest.mark.parametrize("process", [0, 2**22 + 1, 10**30])
def test_numbers_that_no_process_has(process):
    assert not is_running(process)


def test_text_replaces_what_was_there_whole(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("a longer page than the next")
    write_text("Größe ≥ 1\n", path)
    assert path.read_bytes() == "Größe ≥ 1\n".encode()
    assert list(tmp_path.iterdir()) == [path]
