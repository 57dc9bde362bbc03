"""What fills networks: checkpoints, whole networks in files, transformers, and the weights that ship with the package.

Other networks are MONAI's, or any module, built from the config; `rankseg_med.networks.architectures` has some that
MONAI lacks.
"""

from rankseg_med.networks.checkpoint import (
    SHIPPED_WEIGHTS,
    fill_network,
    load_weights,
    read_checkpoint,
    shipped_checkpoint,
)
from rankseg_med.networks.errors import CheckpointError, MisfitError
from rankseg_med.networks.exported import NetworkFile
from rankseg_med.networks.files import network_sha256
from rankseg_med.networks.starting import Start, start_from_weights
from rankseg_med.networks.transformers import SemanticSegmentation, logits_of_queries

__all__ = [
    "SHIPPED_WEIGHTS",
    "CheckpointError",
    "MisfitError",
    "NetworkFile",
    "SemanticSegmentation",
    "Start",
    "fill_network",
    "load_weights",
    "logits_of_queries",
    "network_sha256",
    "read_checkpoint",
    "shipped_checkpoint",
    "start_from_weights",
]
