import pytest

from rankseg_med.configuration import load_config
from rankseg_med.studies import find_studies
from tests.proxy_task import write_proxy_task


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Folder of a proxy task."""
    folder = tmp_path_factory.mktemp("balls")
    write_proxy_task(folder)
    return folder


@pytest.fixture
def config(data):
    return load_config("train", data / "tiny.yaml", device="cpu")


@pytest.fixture
def studies(data):
    """To train on, and to score."""
    found = find_studies(data / "list.json")
    return found[2:], found[1:2]
