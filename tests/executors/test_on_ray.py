import sys

import pytest
import torch

from rankseg_med.errors import InputError
from rankseg_med.executors import run_on_ray
from tests.executors import builds


# Those that need no cluster to be there already come first: the fixture keeps one for the rest of the module.
@pytest.mark.slow
def test_a_cluster_of_its_own_ends_with_the_run():
    ray = pytest.importorskip("ray")
    assert not ray.is_initialized()
    first, second = (run_on_ray(builds.arithmetic, range(3), workers=1) for _ in range(2))
    results = [next(first).result, next(second).result]
    results += [outcome.result for outcome in first]
    assert ray.is_initialized()  # the second is still under way
    results += [outcome.result for outcome in second]
    assert sorted(results) == [1, 1, 3, 3, 5, 5]
    assert not ray.is_initialized()
    assert [outcome.result for outcome in run_on_ray(builds.arithmetic, [3], workers=1)] == [7]
    assert not ray.is_initialized()


@pytest.mark.slow
def test_a_machine_that_leaves_takes_no_item_with_it(tmp_path):
    """Two machines besides the first, as far as Ray can tell."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    machines = [cluster.add_node(num_cpus=1) for _ in range(2)]
    try:
        build = builds.Noting(tmp_path / "pids", builds.acting)
        items = [("sleep", 0.2 + x / 1e6) for x in range(20)]
        outcomes, names = [], set[str]()
        for outcome in run_on_ray(build, items, address=cluster.address, on_stage=lambda *what: names.add(what[2])):
            outcomes.append(outcome)
            if len(names) == 2 == len(machines):
                cluster.remove_node(machines.pop(), allow_graceful=False)
        assert names == {"actor 1", "actor 2"}
        assert sorted(outcome.item for outcome in outcomes) == items
        assert [outcome.error for outcome in outcomes] == [None] * 20
        assert not ray.is_initialized()
    finally:
        cluster.shutdown()


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "threads"), [(1, 3), (2, 1)])
def test_workers_of_its_own_cluster_share_the_threads_that_this_process_has(workers, threads):
    pytest.importorskip("ray")
    before = torch.get_num_threads()
    torch.set_num_threads(3)  # neither the machine's cores nor one
    try:
        outcomes = list(run_on_ray(builds.thread_counting, range(4), workers=workers))
    finally:
        torch.set_num_threads(before)
    assert {outcome.result for outcome in outcomes} == {threads}


def test_what_to_install_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'rankseg-med\[ray\]'"):
        run_on_ray(builds.acting, [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "at least one worker is needed, got workers=0"),
        ({"timeout_s": 0.0}, "timeout_s has to be positive, or None for no limit, got 0.0"),
        ({"cpus_per_worker": 0}, "a worker needs a share of the cluster, got cpus_per_worker=0 and gpus_per_worker=0"),
        ({"gpus_per_worker": -1}, "a worker needs a share of the cluster"),
    ],
)
def test_what_is_required_is_said_at_the_call(options, message):
    with pytest.raises(ValueError, match=message):
        run_on_ray(builds.acting, [], **options)


@pytest.mark.usefixtures("ray_cluster")
def test_a_share_that_no_machine_has_is_refused():
    with pytest.raises(ValueError, match="a worker is to have 1 CPUs and 1 GPUs, but no machine of the cluster"):
        list(run_on_ray(builds.acting, [1], gpus_per_worker=1))


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_as_many_workers_as_there_is_room_for(tmp_path):
    build = builds.Noting(tmp_path / "pids", builds.acting)
    list(run_on_ray(build, [("sleep", 0.5 + x / 1e6) for x in range(6)]))
    assert len(build.pids()) == 2


@pytest.mark.usefixtures("ray_cluster")
def test_a_connection_that_was_there_stays():
    import ray

    list(run_on_ray(builds.acting, [1], workers=1))
    assert ray.is_initialized()


@pytest.mark.usefixtures("ray_cluster")
def test_local_functions_will_do():
    (outcome,) = run_on_ray(lambda: [lambda x: x + 1], [1], workers=1)
    assert outcome.result == 2


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "given", "threads"), [(1, None, 2), (2, None, 1), (1, 1, 1)])
def test_workers_share_the_cores_out_as_threads(ray_cluster, workers, given, threads):
    outcomes = run_on_ray(builds.thread_counting, range(10), workers=workers, cpus_per_worker=given)
    assert {outcome.result for outcome in outcomes} == {threads}
