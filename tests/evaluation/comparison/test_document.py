import csv
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from rankseg_med.evaluation.comparison.compare import RegionComparison
from rankseg_med.evaluation.comparison.document import report_pair, report_ranking
from rankseg_med.evaluation.comparison.run_ranking import RegionRanking, RunPair, RunRanking
from rankseg_med.metrics import compare_paired, rank_runs
from rankseg_med.report import as_csv

CASES = [f"case_{number:02}" for number in range(12)]
BASE = {case: 0.5 + 0.02 * number for number, case in enumerate(CASES)}
GAIN = {case: score + 0.05 for case, score in BASE.items()}


def pair_of(metric="dice", a=BASE, b=GAIN):
    return RegionComparison("liver", metric, compare_paired(a, b, metric))


def ranking_of(scores, **options):
    ranking = rank_runs(scores, **options)
    (a, b, *_) = scores
    pair = RunPair(a, b, compare_paired(scores[a], scores[b]), 0.5, 0.25, 0.125)
    entry = RegionRanking("liver", "dice", ranking, (pair,))
    return RunRanking({name: Path(name) for name in scores}, (entry,), (), dict.fromkeys(scores, ()))


def rows_of(table):
    return list(csv.DictReader(StringIO(as_csv(table))))


class TestPair:
    def test_numbers_of_every_table_are_those_of_the_file(self):
        report = report_pair([pair_of()], "argmax", "rankseg")
        (row,) = rows_of(report.data["pairs.csv"])
        assert (row["A"], row["B"], row["cases"], row["B - A"], row["low"]) == (
            *("argmax", "rankseg", "12", "+0.0500", "+0.0500"),
        )
        assert row["wins/ties/losses by change"] == "> 0: 12/0/0, > 0.01: 12/0/0"
        for table in report.document.tables:
            shown = dict(zip(table.headings, table.rows[0], strict=True))
            assert all(" ".join(cell.split()) == row[name] for name, cell in shown.items() if name in row)

    def test_verdict_counts_intervals_on_the_better_side(self):
        # Of distances, what grows is worse.
        report = report_pair([pair_of(), pair_of("hd_mm")], "argmax", "rankseg")
        assert report.document.verdict.startswith("rankseg is better than argmax in 1 and worse in 1 of 2 rows")

    def test_patients_are_told_where_they_are_not_the_cases(self):
        clustered = compare_paired(BASE, GAIN, patients={case: case[-1] for case in CASES})
        for result, patients in ((clustered, True), (compare_paired(BASE, GAIN), False)):
            table = report_pair([RegionComparison("liver", "dice", result)], "a", "b").document.tables[0]
            assert ("patients" in table.headings) is patients

    def test_voxels_are_said(self):
        for unit in ("mm", "voxel"):
            report = report_pair([replace(pair_of("hd95_mm"), distance_unit=unit)], "a", "b")
            assert ("Distances are in voxels." in report.document.tables[0].note) is (unit == "voxel")

    def test_undefined_numbers_are_dashes(self):
        (row,) = rows_of(report_pair([pair_of(a={}, b={})], "a", "b").data["pairs.csv"])
        assert {row[name] for name in ("mean A", "B - A", "low", "Wilcoxon p", "worst case")} == {"-"}


class TestRanking:
    def test_the_best_stands_first(self):
        report = report_ranking(ranking_of({"base": BASE, "gain": GAIN, "half": dict.fromkeys(CASES, 0.1)}))
        rows = rows_of(report.data["ranking.csv"])
        assert [(row["run"], row["rank"], row["first"], row["beaten"]) for row in rows] == [
            ("gain", "1", "100%", "2"),
            ("base", "2", "0%", "1"),
            ("half", "3", "0%", "0"),
        ]
        assert report.document.verdict == ("First by dice of liver, rank-then-mean: gain (in 100% of the samples).")
        ranking = report.document.tables[0]
        assert ranking.title == "Ranking: liver, Dice"
        for said in ("Ranked: 12 of 12 cases.", "tau to this ranking 1.00 (1.00 to 1.00)", "chi-square 24.00"):
            assert said in ranking.note
        assert not report.document.notes

    def test_p_values_of_pairs_are_the_corrected_ones(self):
        report = report_ranking(ranking_of({"a": BASE, "b": GAIN, "c": BASE}))
        (row,) = rows_of(report.data["pairs.csv"])
        assert (row["Wilcoxon p by Holm"], row["sign test p by Holm"], row["Nemenyi p"]) == (
            *("0.5000", "0.2500", "0.1250"),
        )

    def test_what_is_not_ranked_or_ranked_worst_is_named(self):
        some = dict(list(BASE.items())[:2]) | {"case_05": float("nan")}
        found = ranking_of({"a": dict(list(BASE.items())[:6]), "b": some, "c": {"case_00": 0.9}})
        assert report_ranking(found).document.notes[:-1] == (
            "no score in b, so ranked worst and in no change, liver dice: 3 cases: case_02, case_03, case_04",
            "no score in c, so ranked worst and in no change, liver dice: 4 cases: case_01, case_02, case_03, case_04",
            "not ranked, liver dice: 1 case: case_05 (undefined in b)",
        )
        assert report_ranking(found).document.notes[-1].startswith("few to test: only 5 cases or patients")

    def test_voxels_are_said(self):
        found = ranking_of({"a": BASE, "b": GAIN, "c": BASE})
        (entry,) = found.rankings
        in_voxels = replace(found, rankings=(replace(entry, metric="hd95_mm", distance_unit="voxel"),))
        titles = [table.title for table in report_ranking(in_voxels).document.tables[:2]]
        assert titles == ["Ranking: liver, HD95 in voxels", "Pairs of runs: liver, HD95 in voxels"]

    def test_nothing_to_rank(self):
        report = report_ranking(ranking_of({"a": {}, "b": {}, "c": {}}))
        assert report.document.verdict.startswith("No case has a score")
        assert {row["rank"] for row in rows_of(report.data["ranking.csv"])} == {"-"}


def test_files(tmp_path):
    report = report_ranking(ranking_of({"a_1": BASE, "b": GAIN, "c": BASE}))
    report.write(tmp_path / "tables")
    texts = {path.name: path.read_text() for path in (tmp_path / "tables").iterdir()}
    assert texts.keys() == {"comparison.md", "comparison.tex", "ranking.csv", "pairs.csv"}
    assert texts["comparison.md"].startswith("# 3 runs ranked\n")
    assert r"a\_1 & 2 & 2 to 2 & 0\%" in texts["comparison.tex"]
    assert [path.name for path in tmp_path.iterdir()] == ["tables"]


def test_files_replace_nothing(tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(FileExistsError, match="give a new folder"):
        report_pair([pair_of()], "a", "b").write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
