import json
from pathlib import Path

import pytest

from rankseg_med.evaluation.comparison.scored_runs import ScoredRun, name_runs, read_runs


def write(folder, cases, *, failed=()):
    folder.mkdir(parents=True)
    (folder / "scores.csv").write_text("\n".join(["case_id,name,dice", *(f"{case},liver,0.5" for case in cases)]))
    (folder / "summary.json").write_text(json.dumps({"failures": dict.fromkeys(failed, "no prediction")}))
    return folder


def test_failed_cases_have_no_score(tmp_path):
    run = ScoredRun.read(write(tmp_path / "a", ["x", "y"], failed=["z"]))
    assert run.scores("liver", "dice") == {"x": 0.5, "y": 0.5, "z": None}
    assert run.case_ids == {"x", "y", "z"}


def test_a_run_of_another_data_set_is_named(tmp_path):
    folders = [write(tmp_path / name, cases) for name, cases in {"a": "xy", "b": "y", "c": "z"}.items()]
    assert len(read_runs(folders[:2])) == 2
    with pytest.raises(ValueError, match=r"a and .*c must have a case in common"):
        read_runs(folders)


class TestNames:
    def test_folders(self):
        assert name_runs([Path("scores/argmax"), Path("other/dice")]) == ["argmax", "dice"]

    def test_folders_of_one_name(self):
        folders = ["x/fold_0/scores", "x/fold_1/scores", "y/fold_1/scores", "best"]
        assert name_runs(list(map(Path, folders))) == ["fold_0/scores", "x/fold_1/scores", "y/fold_1/scores", "best"]

    def test_here(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert name_runs([Path(), Path("a")]) == [tmp_path.name, "a"]

    def test_a_folder_that_ends_another(self, tmp_path, monkeypatch):
        (tmp_path / "a" / "scores").mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        names = name_runs([Path("scores"), Path("a/scores")])
        assert names == [f"{tmp_path.name}/scores", "a/scores"]

    def test_given(self):
        assert name_runs([Path("a"), Path("b")], ["first", "second"]) == ["first", "second"]

    @pytest.mark.parametrize("names", [["one"], ["one", "one"]])
    def test_not_one_for_each(self, names):
        with pytest.raises(ValueError, match="each of 2 runs must have a name of its own, got one"):
            name_runs([Path("a"), Path("b")], names)

    def test_a_run_twice(self):
        with pytest.raises(ValueError, match="a: is given twice"):
            name_runs([Path("a"), Path("b"), Path.cwd() / "a"])
