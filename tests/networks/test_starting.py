import pytest
import torch
from safetensors.torch import save_file

from rankseg_med.networks import CheckpointError, MisfitError, start_from_weights


def network(classes: int) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv1d(1, 2, 1), torch.nn.Conv1d(2, classes, 1))


@pytest.fixture
def weights(tmp_path):
    """Of two classes."""
    path, trained = tmp_path / "trained.pt", network(2)
    torch.save({"network": trained.state_dict(), "optimizer": {"lr": 0.1}}, path)
    return path, trained.state_dict()


def test_all_that_fits(weights, tmp_path):
    path, trained = weights
    save_file(trained, tmp_path / "trained.safetensors")
    for file in (path, tmp_path / "trained.safetensors"):
        fresh = network(2)
        start = start_from_weights(fresh, file)
        assert (start.anew, start.unused) == ((), ())
        assert all(torch.equal(value, trained[name]) for name, value in fresh.state_dict().items())


def test_another_number_of_classes_is_refused_by_name(weights):
    fresh = network(3)
    before = {name: value.clone() for name, value in fresh.state_dict().items()}
    with pytest.raises(MisfitError, match=r"of another shape: 1\.bias \(2,\) where the network has \(3,\), 1\.weight"):
        start_from_weights(fresh, weights[0])
    assert all(torch.equal(value, before[name]) for name, value in fresh.state_dict().items())


def test_layers_that_do_not_fit_stay_as_they_are(weights):
    path, trained = weights
    fresh = network(3)
    before = {name: value.clone() for name, value in fresh.state_dict().items()}
    start = start_from_weights(fresh, path, new_layers=True)
    assert set(start.anew) == set(start.unused) == {"1.weight", "1.bias"}
    found = fresh.state_dict()
    assert all(torch.equal(found[name], trained[name]) for name in ("0.weight", "0.bias"))
    assert all(torch.equal(found[name], before[name]) for name in ("1.weight", "1.bias"))


def test_a_layer_is_filled_as_a_whole(tmp_path):
    """Of two inputs and of three the bias has one shape; it belongs to its weight all the same."""
    other = torch.nn.Sequential(torch.nn.Conv1d(1, 3, 1), torch.nn.Conv1d(3, 2, 1))
    torch.save({**other.state_dict(), "2.weight": torch.ones(1)}, tmp_path / "other.pt")
    grown = torch.nn.Sequential(torch.nn.Conv1d(1, 3, 1), torch.nn.Conv1d(3, 2, 3))
    start = start_from_weights(grown, tmp_path / "other.pt", new_layers=True)
    assert start.anew == ("1.weight", "1.bias")
    assert start.unused == ("1.bias", "1.weight", "2.weight")


def test_what_nothing_can_start_from(weights, tmp_path):
    with pytest.raises(MisfitError, match="no layer fits"):
        start_from_weights(torch.nn.Linear(5, 5), weights[0], new_layers=True)
    with pytest.raises(CheckpointError, match="no such checkpoint file"):
        start_from_weights(network(2), tmp_path / "absent.pt", new_layers=True)
    broken = {name: torch.full_like(value, torch.nan) for name, value in network(2).state_dict().items()}
    torch.save(broken, tmp_path / "diverged.pt")
    with pytest.raises(CheckpointError, match="not finite"):
        start_from_weights(network(3), tmp_path / "diverged.pt", new_layers=True)
    torch.save({"network": network(2)}, tmp_path / "pickled.pt")
    with pytest.raises(CheckpointError, match="other pickled objects can run code"):
        start_from_weights(network(2), tmp_path / "pickled.pt", new_layers=True)
