from collections.abc import Callable

import pytest

from rankseg_med.configuration.config import Config, ConfigError, Job, load_config


@pytest.fixture
def load(tmp_path) -> Callable[..., Config]:
    """Load an overlay of a given text."""

    def load_text(text: str, job: Job = "inference", name: str = "mine.yaml") -> Config:
        (tmp_path / name).write_text(text)
        return load_config(job, tmp_path / name, device="cpu")

    return load_text


@pytest.fixture
def refusal(load, tmp_path) -> Callable[..., str]:
    """The one line with which an overlay of a given text is refused, behind the file's name."""

    def refusal_of(text: str, job: Job = "inference", name: str = "mine.yaml") -> str:
        with pytest.raises(ConfigError) as refused:
            load(text, job, name)
        message = str(refused.value)
        assert "\n" not in message
        assert message.startswith(str(tmp_path / name))
        return message.removeprefix(f"{tmp_path / name}: ")

    return refusal_of
