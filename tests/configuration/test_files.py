import os

import pytest

from rankseg_med.configuration.config import ConfigError, load_config
from rankseg_med.configuration.files import read_config_file

KEEP_TWICE = """\
extends: demo
cleanup:
  _target_: rankseg_med.transforms.KeepLargestComponent
  labels: [1]
  labels: [2]
"""


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "extends: demo\nepochs: 3\nepochs: 4\n", "epochs stands twice, in line 2 and in line 3"),
        ("a.yaml", KEEP_TWICE, "labels stands twice, in line 4 and in line 5"),
        ("a.yaml", "{epochs: 3, epochs: 4}", "epochs stands twice, in line 1 and in line 1"),
        ("a.json", '{"epochs": 3, "extends": "demo", "epochs": 4}', "epochs stands twice"),
        ("a.json", '{"extends": "demo", "cleanup": {"_target_": "Compose", "x": 1, "x": 2}}', "x stands twice"),
        ("a.yaml", "", r"must hold entries, key: value, got an empty file"),
        ("a.yaml", "# nothing\n", "got an empty file"),
        ("a.yaml", "- 1\n", "got a list"),
        ("a.json", "[1]", r"cannot be read as a JSON config \(must hold entries"),
        ("a.json", "{", "cannot be read as a JSON config"),
        ("a.yaml", "1: 2\n", "keys must be text, got 1"),
        ("a.yaml", "epochs: !!python/object/apply:os.getcwd []\n", "cannot be read as a YAML config"),
        ("a.yaml", "[" * 5000, "cannot be read as a YAML config"),
        ("a.txt", "extends: demo\n", r"a config is a \.yaml, \.yml or \.json file"),
        ("a.yaml", "extends: nowhere.yaml\n", r"a\.yaml: extends .*nowhere\.yaml: no such config file"),
        ("a.yaml", "extends: dmeo\n", r"a\.yaml: extends .*did you mean demo\?"),
        ("a.yaml", "extends: [demo, 3]\n", r"extends must name a shipped config or a file, .* got \['demo', 3\]"),
        ("a.yaml", "extends: .\n", "extends .*: must be a file, got a folder"),
    ],
)
def test_what_no_config_can_be_read_from(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as refused:
        load_config("inference", path)
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value)


def test_binary_file(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\x00\xff\xfe\x80")
    with pytest.raises(ConfigError, match=r"a\.yaml: cannot be read as a YAML config"):
        load_config("inference", path)


def test_no_regular_files(tmp_path):
    """A pipe must not be opened: that would wait for a writer."""
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "extending.yaml").write_text("extends: pipe.yaml\n")
    for name in ("pipe.yaml", "folder.yaml", "extending.yaml"):
        with pytest.raises(ConfigError, match=rf"{name}: .*must be a file, got a folder, pipe or device"):
            load_config("inference", tmp_path / name)
    with pytest.raises(ConfigError, match=r"loop\.yaml: no such config file"):
        load_config("inference", tmp_path / "loop.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config("inference", tmp_path / ("a" * 300 + ".yaml"))


def test_the_nearest_shipped_name():
    with pytest.raises(ConfigError, match=r"no such config file, nor a shipped config .*; did you mean hippocampus\?"):
        load_config("inference", "hipocampus")


def test_merge_keys_may_be_replaced(tmp_path):
    """Of YAML, which puts them in place before the keys beside them; wherever the anchor lies."""
    path = tmp_path / "a.yaml"
    path.write_text("base: &base {a: 1, b: 1}\nin: {deep: {it: &it {<<: *base, b: 2}}}\nmore: {<<: *it, a: 3}\n")
    content = read_config_file(path)
    assert content["in"]["deep"]["it"] == {"a": 1, "b": 2}
    assert content["more"] == {"a": 3, "b": 2}


def test_byte_order_mark(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("extends: demo\n", encoding="utf-8-sig")
    assert read_config_file(path) == {"extends": "demo"}
