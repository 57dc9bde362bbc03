"""Every block of the documentation runs in a session, or there is a reason why not; its options must exist anyway."""

import importlib
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from rankseg_med.cli.app import app
from rankseg_med.configuration import load_config
from tests.docs.blocks import Block, blocks_of, pages, text_of
from tests.docs.exceptions import exceptions, reasons_not_to_run
from tests.docs.sessions import session_of

BLOCKS = [block for page in pages() for block in blocks_of(page)]

# Configs that are shown and not written to a file by a session: of a page and words, the job and the config beneath.
CONFIGS = {
    ("dicom.md", "structures:"): ("inference", "lits"),
    ("inference.md", "extends: lits"): ("inference", None),
    ("networks.md", "network_def:"): ("inference", "demo"),
    ("semisupervised.md", "class_biases: true"): ("train", "bcp_hippocampus"),
    ("semisupervised.md", "weighting: cases"): ("train", "bcp_hippocampus"),
    ("loss_search.md", "SurrogateLoss"): ("train", "lung_nodules"),
    ("semisupervised.md", "extends: [lits, bcp]"): ("train", None),
    ("training.md", "tversky:"): ("train", "demo"),
    ("training.md", "topk_ce:"): ("train", "demo"),
}


def sessions() -> Iterator[tuple[str, ...]]:
    """A page, and perhaps sections of it, of every test here that runs them."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for _, test in inspect.getmembers(importlib.import_module(f"tests.docs.{path.stem}"), inspect.isfunction):
            for mark in getattr(test, "pytestmark", []):
                if mark.name == "session":
                    assert "run" in inspect.signature(test).parameters, f"{test.__name__} runs no session"
                    yield mark.args


def test_every_block_is_run_or_there_is_a_reason():
    run = {block for page, *headings in sessions() for block in session_of(page, headings)}
    other = [block for block in BLOCKS if block not in run and not configs_shown(block)]
    left = [block.name for block in other if not reasons_not_to_run(block)]
    assert not left, "run them in a session (test_guides.py), or say in exceptions.py why not"


def test_every_reason_is_of_one_block():
    found = [reason for block in BLOCKS for reason in reasons_not_to_run(block)]
    assert sorted(found) == sorted(exceptions())


def test_every_config_is_written_to_a_file_or_looked_at():
    shown = [b for b in BLOCKS if b.language == "yaml" and not re.match(r"# \S+\.yaml\n", b.text)]
    left = [b.name for b in shown if not configs_shown(b) and not reasons_not_to_run(b)]
    assert not left, "begin them with their name, '# mine.yaml', or add them to CONFIGS"


def configs_shown(block: Block) -> list[tuple[str, str]]:
    return [(page, words) for page, words in CONFIGS if page == block.page and words in block.text]


@pytest.mark.parametrize(("page", "words"), CONFIGS)
def test_configs(page, words, tmp_path):
    (block,) = [b for b in blocks_of(page) if b.language == "yaml" and words in b.text]
    (tmp_path / "shown.yaml").write_text(block.text)
    job, beneath = CONFIGS[page, words]
    load_config(job, [*([beneath] if beneath else []), tmp_path / "shown.yaml"], device="cpu")


def commands_of(page: str) -> Iterator[list[str]]:
    """What the program is told, everywhere on a page: in blocks of every language, and in sentences."""
    text = text_of(page)
    in_sentences = [found.replace("\n", " ") for found in re.findall(r"`(rankseg-med [^`]+)`", text)]
    # Lines that go on: after a backslash, or in YAML with an option.
    in_blocks = [re.sub(r"\\\n|\n\s+(?=--)", " ", block.text) for block in blocks_of(page)]
    for line in "\n".join([*in_sentences, *in_blocks]).splitlines():
        for found in re.findall(rf"rankseg[-_]med\S* ((?:{'|'.join(COMMANDS)})\b.*)", line):
            yield shlex.split(found, comments=True)


COMMANDS = get_command(app).commands


@pytest.mark.parametrize("page", [page for page in pages() if list(commands_of(page))])
def test_commands_have_options_that_exist(page):
    for name, *arguments in commands_of(page):
        command = COMMANDS[name]
        command.make_parser(command.context_class(command, info_name=name)).parse_args(arguments)
