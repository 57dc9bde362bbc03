import json

import pytest


@pytest.fixture
def runs(tmp_path):
    folders = []
    for name, gain in (("a", 0.0), ("b", 0.05)):
        folder = tmp_path / name
        folder.mkdir()
        rows = [f"p{case // 2}_s{case},liver[1],{0.5 + 0.04 * case + gain * (case % 3)},12.5" for case in range(8)]
        rows.append(f"p9_s{name},liver[1],nan,nan")
        (folder / "scores.csv").write_text("\n".join(["case_id,name,dice,hd95_mm", *rows]))
        folders.append(folder)
    return folders


def test_table_and_file(rankseg_med, runs, tmp_path):
    output = tmp_path / "comparison.json"
    result = rankseg_med(
        *("compare", *runs, "--metric", "dice", "--metric", "hd95_mm"),
        *("--patients", r"(p\d)_", "--output", output),
    )
    assert result.code == 1  # p9_sa and p9_sb are in one run each
    for text in ("liver[1]", "dice", "hd95_mm", "+0.0438", "> 0.01: 5/3/0", "> 1: 0/8/0"):
        assert text in result.out
    assert "+0.1000" in result.out
    assert (
        "not compared, liver[1] dice: 2 cases: p9_sa (no score in A and B), p9_sb (no score in A and B)" in result.err
    )
    content = json.loads(output.read_text())
    assert [row["metric"] for row in content["comparisons"]] == ["dice", "hd95_mm"]
    assert content["comparisons"][0]["result"]["n_patients"] == 4


def test_thresholds(rankseg_med, runs):
    result = rankseg_med("compare", *runs, "--threshold", 0.02, "--threshold", 0.2)
    assert "> 0.02: 5/3/0" in result.out
    assert "> 0.2: 0/8/0" in result.out


def test_a_case_that_one_run_lacks_is_no_success(rankseg_med, runs):
    for folder in runs:
        table = folder / "scores.csv"
        table.write_text("\n".join(line for line in table.read_text().splitlines() if not line.startswith("p9_")))
    assert rankseg_med("compare", *runs).code == 0
    table.write_text("\n".join(line for line in table.read_text().splitlines() if not line.startswith("p0_s0,")))
    result = rankseg_med("compare", *runs)
    assert (result.code, "p0_s0 (no score in B)" in result.err) == (1, True)


def test_errors_are_one_line(rankseg_med, runs, tmp_path):
    result = rankseg_med("compare", runs[0], tmp_path)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"error: {tmp_path}: holds no scores.csv")


class TestSeveralRuns:
    @pytest.fixture
    def several(self, tmp_path):
        """Three runs of ten patients: each better than the one before."""
        folders = []
        for run in range(3):
            folder = tmp_path / f"fold_{run}" / "scores"
            folder.mkdir(parents=True)
            rows = [f"p{case},liver,{0.3 + 0.04 * case + 0.05 * run:.2f},{9 - run}" for case in range(10)]
            (folder / "scores.csv").write_text("\n".join(["case_id,name,dice,hd95_mm", *rows]))
            folders.append(folder)
        return folders

    def test_tables_and_files(self, rankseg_med, several, tmp_path):
        result = rankseg_med(
            *("compare", *several, "--metric", "dice", "--metric", "hd95_mm"),
            *("--output", tmp_path / "ranking.json", "--tables", tmp_path / "tables"),
        )
        assert (result.code, result.err) == (0, "")
        for text in ("Ranking: liver, Dice", "Pairs of runs: liver, HD95 in mm", "Consensus", "chi-square 20.00"):
            assert text in " ".join(result.out.split())
        assert result.out.splitlines()[-1] == "First by the mean of the ranks in 2 regions and metrics: fold_2/scores."
        content = json.loads((tmp_path / "ranking.json").read_text())
        assert [standing["rank"] for standing in content["ranking"][0]["standings"]] == [3, 2, 1]
        assert len(list((tmp_path / "tables").iterdir())) == 4

    def test_names_and_scheme(self, rankseg_med, several):
        names = ("--name", "first", "--name", "second", "--name", "third")
        result = rankseg_med("compare", *several, *names, "--ranking", "mean-then-rank")
        assert result.code == 0
        assert "By mean-then-rank: mean score." in " ".join(result.out.split())
        assert "mean-then-rank: third (in 100% of the samples)." in result.out

    def test_a_case_that_one_run_lacks_is_no_success(self, rankseg_med, several):
        table = several[2] / "scores.csv"
        table.write_text("\n".join(line for line in table.read_text().splitlines() if not line.startswith("p3,")))
        result = rankseg_med("compare", *several)
        assert result.code == 1
        assert "no score in fold_2/scores, so ranked worst and in no change, liver dice: 1 case: p3" in result.err

    def test_a_failure_that_is_known_is_not_missing(self, rankseg_med, several):
        self.test_a_case_that_one_run_lacks_is_no_success(rankseg_med, several)
        (several[2] / "summary.json").write_text(json.dumps({"failures": {"p3": "unreadable"}}))
        result = rankseg_med("compare", *several)
        assert (result.code, "liver dice: 1 case: p3" in result.err) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a"], "two runs or more, got one"),
        (["a", "b", "--ranking", "significance"], "--ranking means nothing with two runs"),
        (["a", "b", "--name", "x"], "each of 2 runs must have a name of its own"),
        (["a", "a"], "is given twice"),
    ],
)
def test_wrong_options(rankseg_med, runs, monkeypatch, arguments, said):
    monkeypatch.chdir(runs[0].parent)
    result = rankseg_med("compare", *arguments)
    assert result.code == 2
    assert said in " ".join(result.err.replace("│", " ").split())


def test_tables_of_two_runs(rankseg_med, runs, tmp_path):
    result = rankseg_med("compare", *runs, "--tables", tmp_path / "tables")
    assert "b is better than a in 1 and worse in 0 of 1 rows" in result.out
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {"comparison.md", "comparison.tex", "pairs.csv"}
    again = rankseg_med("compare", *runs, "--tables", tmp_path / "tables")
    assert (again.code, again.out) == (1, "")
    assert "give a new folder" in again.err
