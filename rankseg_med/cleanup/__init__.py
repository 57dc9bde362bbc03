"""Label map to label map: what anatomy allows."""

from rankseg_med.cleanup.holes import fill_holes
from rankseg_med.cleanup.largest_component import keep_largest_component
from rankseg_med.cleanup.small_components import remove_small_components
from rankseg_med.cleanup.touching import keep_touching

__all__ = ["fill_holes", "keep_largest_component", "keep_touching", "remove_small_components"]
