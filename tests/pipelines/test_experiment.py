"""Runs of an experiment: what is left to run is run, and what fails stays alone."""

import os

import pytest
import torch
from experiment import run_all
from experiment_tables import SCORED


def run(arm, seed, folder):
    if arm == "odd" and seed:
        raise ValueError("no such weights")
    (folder / SCORED).parent.mkdir(parents=True)
    (folder / SCORED).write_text(f"{os.getpid()} {torch.get_num_threads()}")


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_that_fails_stops_no_other_and_is_the_only_one_that_is_left(tmp_path, jobs):
    with pytest.raises(SystemExit, match=r"odd, seed 1: no such weights\nodd, seed 2: no such weights$"):
        run_all(run, ["odd", "even"], [0, 1, 2], tmp_path, jobs, lambda: f"{len(list(tmp_path.rglob('*.json')))} done")
    done = {path.parents[1].relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*.json")}
    assert set(done) == {"odd/0", "even/0", "even/1", "even/2"}
    processes = {content.split()[0] for content in done.values()}
    assert (str(os.getpid()) in processes) == (jobs == 1)
    assert {content.split()[1] for content in done.values()} == {"1"}
    assert (tmp_path / "results.md").read_text() == "4 done"
    repeated = []
    run_all(lambda *one: repeated.append(one), ["odd", "even"], [0, 1, 2], tmp_path, 1, str)
    assert [one[:2] for one in repeated] == [("odd", 1), ("odd", 2)]
