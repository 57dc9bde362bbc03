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
