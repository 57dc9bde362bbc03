"""Label map to label map: what anatomy allows."""

from rankseg_med.cleanup.largest_component import keep_largest_component

__all__ = ["keep_largest_component"]
