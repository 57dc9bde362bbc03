"""The page of a run, and pictures of its worst cases."""
