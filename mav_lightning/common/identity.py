"""Identity of a computation: plain data that holds everything that can change its result, and nothing else."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from mav_lightning.common.configs import leaves

__all__ = [
    "ADDED", "ADDED_TO_SECTIONS", "HARMLESS", "NOTHING", "RESULTS", "Difference", "first_difference",
    "identity_sha256", "is_harmless", "with_added", "without_harmless",
]  # fmt: skip

# Raise when code changes results that no config key describes: all ids change, and nothing old is reused or resumed.
RESULTS = 5

# Config keys that determine where, how fast or how verbosely something runs, and never its result. The number of
# devices does count, since gradients are summed in another order. Callbacks may change results, so `fit.callbacks`
# counts too.
HARMLESS = frozenset({
    "name",
    "needs",  # what is needed counts by its content instead
    "out",
    "fit.background_checkpoints",
    "fit.checkpoint_every",  # a resumed training equals the uninterrupted one bit for bit
    "fit.logger",
    "fit.name",
    "fit.tags",
    "protocol.name",  # its whole content counts
    "trainer.accelerator",
    "trainer.check_val_every_n_epoch",
    "trainer.default_root_dir",
    "trainer.enable_model_summary",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.logger",
    "trainer.max_time",
    "trainer.num_sanity_val_steps",
    "trainer.profiler",
    "trainer.strategy",
    "trainer.val_check_interval",
})  # fmt: skip
# Values of harmless keys that do count: FSDP2 sums gradient norms in another order than DDP.
_COUNTING = {"trainer.strategy": "fsdp2"}
# Class → arguments that were added since `RESULTS` was last raised, at the value at which the class computes what it
# did without them. There they do not count, so that earlier stages keep their ids. Empty it when `RESULTS` is raised.
_NOISE = {"frame_correlation": 0.0, "noise_offset": 0.0}
ADDED: Mapping[str, Mapping[str, Any]] = {
    "mav_lightning.nn.unet.SpaceTimeUNet": {
        "temporal_causal": False,
        "temporal_placement": "after",
        "temporal_attention_window": 1,
        "temporal_position": "absolute",
    },
    "mav_lightning.modules.denoising.Denoising": {"clip_condition": "random"},
    "datamodules.datamodule.ImageData": {"where": None, "captions": "first", "latents": None},
    "datamodules.datamodule.ClipData": {"where": None, "latents": None},
    "mav_lightning.pretrained.grown_unet.GrownUNet": {"image_noising": None},
    **{
        f"mav_lightning.diffusion.denoiser.{name}": _NOISE
        for name in ("EDMDenoiser", "EpsDenoiser", "HybridDenoiser", "VDenoiser", "X0Denoiser")
    },
}
# The same for sections that are the arguments of a call or the fields of a dataclass, by their path.
ADDED_TO_SECTIONS: Mapping[str, Mapping[str, Any]] = {
    "fit": {"compile": False},
    "task.networks": {"vae": None},
    "task.sampling": {
        "upsampling": "bilinear",
        "interpolator_sampler": None,
        "interpolator_steps": None,
        "sr_sampler": None,
        "sr_steps": None,
        "noise_levels": "karras",
        "clip_range": None,
        "output_size": None,
        "interpolator_batch": 1,
        "sr_batch": 1,
        "memory": None,
    },
}
# Arguments of readers, at any depth of `data` and `task`.
_READING = frozenset({"cache_bytes", "cache_mb", "pin_memory", "timeout", "workers"})
# Arguments of networks, at any depth of `module`, that change what is kept in memory and no bit.
_MEMORY = frozenset({"activation_checkpointing"})
_BRANCHES = frozenset(key.partition(".")[0] for key in HARMLESS if "." in key)
_SUFFIX = "_sha256"

NOTHING = "nothing"  # shown for a key that one of two identities lacks


class Difference(NamedTuple):
    """The first key in which two identities differ.

    Attributes:
        key: Dotted key.
        was: Value in the first identity, as text.
        now: Value in the second identity, as text.
    """

    key: str
    was: str
    now: str


def without_harmless(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config without the keys that do not affect results and without paths whose content is hashed in it.

    Args:
        config: Config as plain containers. Where a key ``<key>_sha256`` is set, the path ``<key>`` is left out.
    """
    content: dict[str, Any] = _content(config)
    for branch in _BRANCHES:
        if content.get(branch) == {}:  # `trainer: {accelerator: cpu}` means the same as no trainer at all
            del content[branch]
    return content


def with_added(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config completed by arguments that were added after it was written, at the values that it implies.

    Args:
        config: Config as plain containers.
    """
    filled: dict[str, Any] = _filled(config)
    return filled


def identity_sha256(identity: Mapping[str, Any]) -> str:
    """Compute the sha256 of an identity's canonical JSON, as 64 hexadecimal digits.

    Raises:
        ValueError: If a number is not finite.
        TypeError: If a value is not plain data.
    """
    # json writes floats by repr, which round-trips; canonical means sorted keys and no spaces
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def first_difference(was: Mapping[str, Any], now: Mapping[str, Any]) -> Difference | None:
    """Compare two identities; return the first key that differs, in the order of `now`, or None.

    Numbers compare by value, so that 1 and 1.0 are equal, as they are in JSON of another writer.
    """
    before, after = dict(leaves(_emptied(was))), dict(leaves(_emptied(now)))
    for key in [*after, *(key for key in before if key not in after)]:
        if (key in before) != (key in after) or before[key] != after[key]:
            shown = [repr(one[key]) if key in one else NOTHING for one in (before, after)]
            return Difference(key, *shown)
    return None


def is_harmless(path: str, value: Any) -> bool:
    """Return whether a config's value cannot change a result.

    Args:
        path: Dotted key.
        value: Its value, as plain data.
    """
    if path in _COUNTING and value == _COUNTING[path]:
        return False
    section, name = path.partition(".")[0], path.rpartition(".")[2]
    harmless = {"data": _READING, "task": _READING, "module": _MEMORY}.get(section, frozenset())
    return path in HARMLESS or name in harmless


def _emptied(value: Any) -> Any:
    """Give empty containers a leaf, which `leaves` would otherwise not yield."""
    if isinstance(value, Mapping):
        return {str(key): _emptied(item) for key, item in value.items()} or "{}"
    return ([_emptied(item) for item in value] or "[]") if isinstance(value, list | tuple) else value


def _content(value: Any, path: str = "") -> Any:
    if isinstance(value, Mapping):
        dropped = {key.removesuffix(_SUFFIX) for key, item in value.items() if str(key).endswith(_SUFFIX) and item}
        added = ADDED.get(str(value.get("_target_")), ADDED_TO_SECTIONS.get(path, {}))
        dropped |= {key for key, neutral in added.items() if key in value and value[key] == neutral}
        paths = {key: f"{path}.{key}" if path else str(key) for key in value if key not in dropped}
        kept = {key: _content(value[key], paths[key]) for key in paths if not is_harmless(paths[key], value[key])}
        return {key: item for key, item in kept.items() if item != {} or value[key] == {}}  # nothing left to count
    return [_content(item, path) for item in value] if isinstance(value, list | tuple) else value


def _filled(value: Any, path: str = "") -> Any:
    if isinstance(value, Mapping):
        added = ADDED.get(str(value.get("_target_")), ADDED_TO_SECTIONS.get(path, {}))
        own = {**value, **{key: neutral for key, neutral in added.items() if key not in value}}
        return {key: _filled(item, f"{path}.{key}" if path else str(key)) for key, item in own.items()}
    return [_filled(item, path) for item in value] if isinstance(value, list | tuple) else value
