"""The errors that mean "this study is at fault, not the program"."""


class StudyError(ValueError):
    """A study that cannot be used; the message names the file, what was required, what came and the likely fix."""


class GridError(StudyError):
    """Two files that should share one grid but do not; the message names both values of what differs."""
