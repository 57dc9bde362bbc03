import pytest
import torch

from rankseg_med.configuration.config import ConfigError, load_config, usable_device
from rankseg_med.configuration.devices import available_devices


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


def test_devices_that_are_there(two_gpus):
    assert available_devices() == ["cpu", "cuda:0", "cuda:1"]
    assert usable_device("cuda:1") == torch.device("cuda", 1)
    assert usable_device("cuda") == torch.device("cuda")
    assert usable_device(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.parametrize("name", ["cupa", "cuda:", "cuda:x", "cuda:-1", "CUDA", "mps", "", None, 0, "cuda:01"])
def test_names_of_no_device(two_gpus, name):
    with pytest.raises(ConfigError, match=r"must be cpu, cuda or cuda:N, got .*; there are: cpu, cuda:0, cuda:1"):
        usable_device(name)


@pytest.mark.parametrize("name", ["cuda:2", "cuda:9", "cuda:99999999999999999999"])
def test_devices_that_are_not_there(two_gpus, name):
    with pytest.raises(ConfigError, match=rf"device {name} was asked for.*; there are: cpu, cuda:0, cuda:1"):
        load_config("inference", "demo", device=name)


def test_no_gpu_at_all(no_gpu):
    for name in ("cuda", "cuda:0"):
        with pytest.raises(
            ConfigError, match=rf"device {name} was asked for, but PyTorch sees no CUDA device.*: cpu\)"
        ):
            load_config("inference", "demo", device=name)


class TestInAConfig:
    def write(self, tmp_path, device):
        path = tmp_path / "mine.yaml"
        path.write_text(f"extends: demo\ndevice: {device}\n")
        return path

    @pytest.mark.parametrize("device", ["cupa", "null", "3"])
    @pytest.mark.parametrize("asked", ["auto", "cpu"])
    @pytest.mark.parametrize("job", ["inference", "train", "decode"])
    def test_what_is_no_device_is_wrong_even_where_it_is_not_used(self, no_gpu, tmp_path, device, asked, job):
        with pytest.raises(ConfigError, match=r"mine\.yaml: device must be cpu, cuda or cuda:N.*there are: cpu"):
            load_config(job, self.write(tmp_path, device), device=asked)

    def test_a_device_of_another_machine_may_be_replaced(self, no_gpu, tmp_path):
        path = self.write(tmp_path, "cuda:9")
        with pytest.raises(ConfigError, match=r"mine\.yaml: device cuda:9 was asked for"):
            load_config("inference", path)
        assert load_config("inference", path, device="cpu").get_parsed_content("device") == torch.device("cpu")

    def test_names_become_devices(self, two_gpus, tmp_path):
        for job in ("inference", "train", "decode"):
            config = load_config(job, self.write(tmp_path, "cuda:1"))
            assert config.get_parsed_content("device") == torch.device("cuda", 1)
