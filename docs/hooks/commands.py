"""The page of commands, from what each says under --help."""

from __future__ import annotations

import subprocess
import sys

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page, as typer writes it."""
    command = [
        sys.executable,
        "-m",
        "typer",
        "rankseg_med.cli.app",
        "utils",
        "docs",
        "--name",
        "rankseg-med",
        "--title",
        "Commands",
    ]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    files.append(File.generated(config, "reference/commands.md", content=text))
    return files
