"""Decode segmentation networks for Dice and IoU instead of voxel accuracy, over whole CT volumes, inside MONAI.

What most users need is here, and is imported once it is asked for; each room, such as `rankseg_med.metrics`, has more.
"""

import lazy_loader

__version__ = "0.1.0"

# The names are in __init__.pyi, where type checkers look as well.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
