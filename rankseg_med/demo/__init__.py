"""Synthetic studies, and the demonstration on them."""

from rankseg_med.demo.demo import run_demo
from rankseg_med.demo.phantom import make_phantom, write_phantom

__all__ = ["make_phantom", "run_demo", "write_phantom"]
