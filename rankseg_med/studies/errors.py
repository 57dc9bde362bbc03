"""The one error that means "this study is at fault, not the program"."""


class StudyError(ValueError):
    """A study that cannot be used; the message names the file, what was required, what came and the likely fix."""
