"""`python -m rankseg_med` is `rankseg-med`."""

from rankseg_med.cli.main import program

program()
