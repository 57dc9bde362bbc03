"""Supervised and semi-supervised training."""
