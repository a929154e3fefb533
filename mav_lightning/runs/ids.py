"""Content ids: a stage is what it computes, so the same computation has the same name everywhere."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mav_lightning.common.errors import UserError

__all__ = ["SCHEMA", "UNHASHED", "ranks", "stage_id"]

# Raise when code changes results that no config key tells of: every id changes and nothing old is reused.
SCHEMA = 4

# Keys that say where, how fast or how loudly a stage runs, and never what comes out of it. The number of devices does
# count, though not which they are: each takes a batch of its own.
UNHASHED = frozenset({
    "name",
    "needs",  # the ids of the needed stages are hashed in their place
    "out",
    "data.cache_mb",
    "data.pin_memory",
    "data.workers",
    "fit.checkpoint_every",  # a continued training is bit for bit the undisturbed one
    "protocol.name",  # all that it says is hashed
    "task.workers",
    "trainer.accelerator",
    "trainer.default_root_dir",
    "trainer.enable_model_summary",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.logger",
    "trainer.strategy",
})  # fmt: skip
_BRANCHES = frozenset(key.partition(".")[0] for key in UNHASHED if "." in key)


def stage_id(config: Mapping[str, Any], needs: Mapping[str, str], schema: int = SCHEMA) -> str:
    """Identifies a stage by 64 bits of sha256 over everything that can change its result.

    A key ``<key>_sha256`` beside ``<key>``, a path, says what lies there: its content counts, its place does not.

    Args:
        config: The resolved config, plain containers, defaults in.
        needs: Role → id of the stage that fills it.
        schema: Version of the code's results.

    Returns:
        16 hexadecimal digits.

    Raises:
        UserError: See `ranks`.
        ValueError: A number that is not finite.
        TypeError: A value that is not plain data.
    """
    content = _content(_with_ranks(config))
    for branch in _BRANCHES:
        if content.get(branch) == {}:  # `trainer: {accelerator: cpu}` says as little as no trainer at all
            del content[branch]
    # json writes floats by repr, which round-trips; canonical means sorted keys and no spaces
    text = json.dumps(
        {"config": content, "needs": dict(needs), "schema": schema},
        sort_keys=True,
        separators=(",", ":"),
        allow_nan=False,
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def ranks(config: Mapping[str, Any]) -> int:
    """Devices, each with a batch of its own, on which a stage trains: 1 where its config does not say.

    Raises:
        UserError: ``trainer.devices`` is neither a number nor a list of them, or ``trainer.num_nodes`` no number.
    """
    trainer = config.get("trainer") or {}
    devices, nodes = trainer.get("devices", 1), trainer.get("num_nodes", 1)
    count = len(devices) if isinstance(devices, Sequence) and not isinstance(devices, str) else devices
    for key, number, given in (("devices", count, devices), ("num_nodes", nodes, nodes)):
        if type(number) is not int or number < 1:
            raise UserError(
                f"trainer.{key}: must be a number from 1 on, or a list of devices, as each takes a batch of its own "
                f"and the result depends on how many there are; got {given!r}."
            )
    return int(count * nodes)


def _with_ranks(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with the number of devices in the place of their names, where it is not one."""
    if not isinstance(config.get("trainer"), Mapping):
        return dict(config)
    trainer = {key: value for key, value in config["trainer"].items() if key not in ("devices", "num_nodes")}
    more = {"ranks": found} if (found := ranks(config)) > 1 else {}
    return dict(config) | {"trainer": trainer | more}


def _content(value: Any, path: str = "") -> Any:
    if isinstance(value, Mapping):
        dropped = {key.removesuffix("_sha256") for key, item in value.items() if str(key).endswith("_sha256") and item}
        paths = {key: f"{path}.{key}" if path else str(key) for key in value if key not in dropped}
        return {key: _content(value[key], paths[key]) for key in paths if paths[key] not in UNHASHED}
    return [_content(item, path) for item in value] if isinstance(value, list | tuple) else value
