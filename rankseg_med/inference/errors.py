"""The errors of this room."""


class InferenceError(RuntimeError):
    """A network or preprocessing that does not do what a segmentation needs; the message says what it did."""
