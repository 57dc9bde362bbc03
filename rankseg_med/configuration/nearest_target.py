"""Which class or function a `_target_` that names none was probably meant to name."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import ModuleType

from monai import inferers, losses, optimizers
from monai import transforms as monai_transforms
from monai.networks import nets

from rankseg_med import calibration, decode, inference, semisupervised, transforms
from rankseg_med import losses as own_losses
from rankseg_med.configuration.error import nearest

# MONAI finds what is its own by the bare name.
_BARE = (nets, monai_transforms, losses, inferers, optimizers)
_WITH_PATH = (transforms, decode, inference, semisupervised, calibration, own_losses)


def nearest_target(name: str) -> str | None:
    """As it is to be written: a bare name of MONAI's, else a full path; None if nothing is near."""
    return _nearest_in_path(name) if "." in name else _nearest_bare(name)


def _nearest_bare(name: str) -> str | None:
    written = {known: known for module in _BARE for known, value in vars(module).items() if callable(value)}
    written |= {known: f"{module.__name__}.{known}" for module in _WITH_PATH for known in module.__all__}
    close = nearest(name, written)
    return None if close is None else written[close]


def _nearest_in_path(name: str) -> str | None:
    """The deepest module of the path that is there, and what is nearest in it to the path's next part."""
    parts = name.split(".")
    for depth in range(len(parts) - 1, 0, -1):
        try:
            module = import_module(".".join(parts[:depth]))
        except (ImportError, ValueError):
            continue
        close = nearest(parts[depth], _names_in(module))
        return None if close is None else ".".join([*parts[:depth], close, *parts[depth + 1 :]])
    return None


def _names_in(module: ModuleType) -> list[str]:
    modules = [found.name for found in pkgutil.iter_modules(getattr(module, "__path__", []))]
    return sorted(name for name in {*dir(module), *modules} if not name.startswith("_"))
