import json
import math

import pytest

import rankseg_med
from rankseg_med.evaluation.comparison.run_ranking import ConsensusStanding, compare_runs
from rankseg_med.metrics import compare_paired, holm, rank_runs

# Liver and tumour Dice of each case in each run; p3 failed in c, and c lacks p4.
DICE = {
    "a": {"p1": (0.9, 0.5), "p2": (0.8, 0.4), "p3": (0.7, 0.3), "p4": (0.6, math.nan)},
    "b": {"p1": (0.8, 0.7), "p2": (0.7, 0.6), "p3": (0.6, 0.5), "p4": (0.5, 0.0)},
    "c": {"p1": (0.7, 0.6), "p2": (0.6, 0.7)},
}


@pytest.fixture
def runs(tmp_path):
    folders = {}
    for name, cases in DICE.items():
        folders[name] = tmp_path / name
        folders[name].mkdir()
        rows = [
            f"{case},{region},{dice},{20 - 10 * dice}"
            for case, of_case in cases.items()
            for region, dice in zip(("liver", "tumour"), of_case, strict=True)
        ]
        (folders[name] / "scores.csv").write_text("\n".join(["case_id,name,dice,hd_mm", *rows]))
        (folders[name] / "summary.json").write_text(json.dumps({"failures": {"p3": "?"} if name == "c" else {}}))
    return folders


def test_every_region_and_metric(runs):
    found = compare_runs(runs, ["dice", "hd_mm"])
    assert [(entry.region, entry.metric) for entry in found.rankings] == [
        *(("liver", "dice"), ("liver", "hd_mm"), ("tumour", "dice"), ("tumour", "hd_mm"))
    ]
    liver, _, tumour, _ = (entry.ranking for entry in found.rankings)
    assert liver == rank_runs({name: {case: dice for case, (dice, _) in of.items()} for name, of in DICE.items()})
    assert liver.standings[2].missed == ("p3", "p4")
    assert tumour.unranked == {"p4": "undefined in a"}
    assert found.missing == {"a": (), "b": (), "c": ("p4",)}


def test_pairs(runs):
    pairs = compare_runs(runs).rankings[0].pairs
    assert [(pair.run_a, pair.run_b) for pair in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    liver = {name: {case: dice for case, (dice, _) in of.items()} for name, of in DICE.items()}
    assert pairs[0].result == compare_paired(liver["a"], liver["b"])
    assert (pairs[1].result.n_cases, set(pairs[1].result.unpaired)) == (2, {"p3", "p4"})
    # Four and two losses without a win: two-sided sign tests of 2 / 2^4 and 2 / 2^2, three of them.
    assert [pair.sign_test_p for pair in pairs] == pytest.approx([3 / 8, 1, 1])
    assert [pair.wilcoxon_p for pair in pairs] == holm([pair.result.wilcoxon_p for pair in pairs]).tolist()


def test_consensus(runs):
    # Liver: a, b, c by both metrics. Tumour, of three cases: a is last but for p3, b and c change places.
    found = compare_runs(runs, ["dice", "hd_mm"])
    ranks = [[standing.rank for standing in entry.ranking.standings] for entry in found.rankings]
    assert ranks == [[1, 2, 3], [1, 2, 3], [3, 1, 2], [3, 1, 2]]
    assert found.consensus == (
        ConsensusStanding("a", 2, 2.0),
        ConsensusStanding("b", 1, 1.5),
        ConsensusStanding("c", 3, 2.5),
    )


def test_a_single_ranking_needs_no_consensus(runs):
    for folder in runs.values():
        table = folder / "scores.csv"
        table.write_text("\n".join(line for line in table.read_text().splitlines() if "tumour" not in line))
    assert compare_runs(runs).consensus == ()


def test_options_reach_the_statistics(runs):
    entry = compare_runs(runs, scheme="mean-then-rank", patients=r"(p)\d", thresholds=[0.25]).rankings[0]
    assert (entry.ranking.scheme, entry.ranking.n_cases, entry.ranking.n_patients) == ("mean-then-rank", 4, 1)
    assert [outcomes.threshold for outcomes in entry.pairs[0].result.outcomes] == [0.25]
    assert entry.pairs[0].result.n_patients == 1


def test_json(runs, tmp_path):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    output = tmp_path / "new" / "comparison.json"
    compare_runs(runs, patients=r"(p)\d", output=output)
    content = json.loads(output.read_text(), parse_constant=refuse)
    assert content["package_version"] == rankseg_med.__version__
    assert content["runs"] == {name: str(folder) for name, folder in runs.items()}
    liver, tumour = content["ranking"]
    assert (liver["region"], liver["metric"], liver["n_cases"]) == ("liver", "dice", 4)
    assert [standing["rank"] for standing in liver["standings"]] == [1, 2, 3]
    assert liver["standings"][0]["interval"] == [None, None]  # of one patient
    assert tumour["unranked"] == {"p4": "undefined in a"}
    pair = content["comparisons"][1]
    assert (pair["region"], pair["metric"], pair["run_a"], pair["run_b"]) == ("liver", "dice", "a", "c")
    assert pair["distance_unit"] == liver["distance_unit"] == "mm"
    assert pair["result"]["mean_difference"] == pytest.approx(-0.2)
    assert [standing["rank"] for standing in content["consensus"]] == [2, 1, 3]


def test_two_runs_are_too_few(runs):
    with pytest.raises(ValueError, match="at least 3 runs, got 2; compare two with compare"):
        compare_runs({name: runs[name] for name in "ab"})
