"""The decodings that are set side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from torch import Tensor

from rankseg_med.configuration import Config, load_config
from rankseg_med.decode import Metric, Presence, RankSEGDecoder, RegionChannels
from rankseg_med.errors import InputError
from rankseg_med.evaluation.cases import DecodableCase
from rankseg_med.studies import NnunetLabels
from rankseg_med.threads import one_thread
from rankseg_med.workflows import DecodeJob, Decoding, cleaned

ARGMAX = "argmax"
"""Name of the setting that all others are compared with."""


@dataclass(frozen=True)
class Setting:
    """A way from stored probabilities to a label map, cleanup included: what `rankseg-med decode` would write.

    Attributes:
        name: Name in tables.
        words: Words in a sentence, after "use".
        made_of: Its decoder, calibration and cleanup, for reports.
        build: Makes it; picklable for other processes.
    """

    name: str
    words: str
    made_of: str
    build: Callable[[], Decoding]

    @property
    def metrics(self) -> frozenset[Metric]:
        """What it decodes for; nothing, of argmax."""
        decoder = self.build().decoder
        if not isinstance(decoder, RankSEGDecoder):
            return frozenset()
        return frozenset([decoder.metric] if isinstance(decoder.metric, str) else decoder.metric)


def settings_of(
    structures: NnunetLabels,
    *,
    metric: Metric = "dice",
    presence: Presence = "maybe",
    overlay: str | Path | None = None,
) -> list[Setting]:
    """Argmax, RankSEG as published, the coherent rule and, if there is one, the tuned setting; in this order.

    Args:
        structures: What the channels are, and what there is to decode for.
        metric: What untuned settings decode for.
        presence: Whether they take every structure to be there always.
        overlay: Config overlay of the tuned setting, a file (trusted) or a shipped name: decoder, calibration, cleanup.

    Raises:
        ConfigError: The overlay cannot be used.
        ValueError: Its decoder or calibration does not go with the channels, or it takes them for others.
    """
    common = {"presence": presence, "regions": _unions(structures)}
    settings = [
        _untuned(ARGMAX, ARGMAX, structures, {"name": "argmax"}),
        _untuned("RankSEG", "RankSEG", structures, {"name": metric, "coherence": 0.0, **common}),
        _untuned("coherent", "the coherent rule", structures, {"name": metric, "coherence": 1.0, **common}),
    ]
    if overlay is not None:
        config = load_config("decode", overlay)
        tuned = _setting("tuned", "the tuned setting", config, structures)
        if _label_sets(tuned.build().regions) != _label_sets(structures.regions):
            raise InputError(
                f"{overlay}: takes the channels for regions by sigmoid that are not those of the probabilities; "
                "say what they are with the region channels"
            )
        settings.append(tuned)
    return settings


def label_maps(case: DecodableCase, settings: Sequence[Setting]) -> Iterator[tuple[Setting, UInt8[Tensor, "X Y Z"]]]:
    """Label maps of one case by each setting; its probabilities are unpacked, or predicted, once.

    Raises:
        StudyError: The probabilities cannot be used; see `Decoding.load`.
    """
    affine = case.grid.affine
    with one_thread(), case.opened() as volume:
        for setting in settings:
            decoding = setting.build()
            decoded = decoding.finish(decoding.session_of(volume, case.source))
            yield setting, cleaned(decoded.label_map.cpu(), decoding.label_maps.cleanup, affine)


def _untuned(name: str, words: str, structures: NnunetLabels, decoder: dict[str, Any]) -> Setting:
    config = load_config("decode", None)
    config["decoder"] = {"_target_": "rankseg_med.decode.make_decoder", **decoder}
    return _setting(name, words, config, structures)


def _setting(name: str, words: str, config: Config, structures: NnunetLabels) -> Setting:
    parts = {part: config[part] for part in ("decoder", "calibration", "cleanup")}
    made_of = "; ".join(f"{part} {entry}" for part, entry in parts.items() if entry is not None)
    # Label maps stay in memory, so the job's folder is never made.
    return Setting(name, words, made_of, DecodeJob(config, Path(), structures).decoding)


def _unions(structures: NnunetLabels) -> list[list[int]] | None:
    """Regions of exclusive classes that the decoder has to be told of; None where it is every class for itself."""
    is_told = structures.regions is not None or all(len(labels) == 1 for labels in structures.names.values())
    return None if is_told else [list(labels) for labels in structures.names.values()]


def _label_sets(regions: RegionChannels | None) -> tuple[tuple[int, ...], ...] | None:
    return None if regions is None else regions.regions
