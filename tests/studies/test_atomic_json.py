import json
import math

import pytest

from rankseg_med.studies import write_json


def test_undefined_is_null(tmp_path):
    content = {"a": math.nan, "b": [1.5, (math.nan, "nan")], "c": {"d": math.nan, "e": True, "f": None}}
    write_json(content, tmp_path / "file.json")
    read = json.loads((tmp_path / "file.json").read_text())
    assert read == {"a": None, "b": [1.5, [None, "nan"]], "c": {"d": None, "e": True, "f": None}}


def test_infinite_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json({"a": math.inf}, tmp_path / "file.json")
    assert list(tmp_path.iterdir()) == []
