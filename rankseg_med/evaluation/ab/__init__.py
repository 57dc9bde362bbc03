"""Decodings side by side on cases that tuning has not seen."""
