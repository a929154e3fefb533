"""Evaluation: clips → numbers. Reads anybody's folders of videos, and depends on no model or training code.

A `Protocol` fixes every choice that affects a score; `evaluate` measures clips under it. `extractors` turn clips into
features and `metrics` turn features into numbers: one file each. `ground_truth` holds the mathematics of what is known
about Shapes World.
"""

from typing import TYPE_CHECKING, Any

from mav_lightning.common.torchvision_hook import add_import_hook

add_import_hook()
if TYPE_CHECKING:
    from evaluation.clip_metrics import CLIPSIM, FVD, KVD, FrameFID, VideoIS
    from evaluation.clip_sources import Clip
    from evaluation.evaluator import Evaluation, evaluate
    from evaluation.protocol import Protocol, load_protocol

__all__ = [
    "CLIPSIM",
    "FVD",
    "KVD",
    "Clip",
    "Evaluation",
    "FrameFID",
    "Protocol",
    "VideoIS",
    "evaluate",
    "load_protocol",
]
_METRICS = ("CLIPSIM", "FVD", "KVD", "FrameFID", "VideoIS")


def __getattr__(name: str) -> Any:
    """Import the public names on first use: configs and studies need light modules of this package only."""
    from importlib import import_module

    homes = {"Clip": "clip_sources", "Protocol": "protocol", "load_protocol": "protocol"}
    homes |= dict.fromkeys(_METRICS, "clip_metrics")
    if name not in __all__:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    return getattr(import_module(f"{__name__}.{homes.get(name, 'evaluator')}"), name)
