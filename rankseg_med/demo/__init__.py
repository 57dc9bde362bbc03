"""Synthetic studies, and the demonstration on them."""
