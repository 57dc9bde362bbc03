"""Evaluations of several runs, compared and ranked."""
