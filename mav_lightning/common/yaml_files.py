"""YAML files as plain data: no tags, no resolvers, only references such as ``${size}``."""

import copy
import functools
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mav_lightning.common.errors import UserError

__all__ = ["check_numbers", "read_mapping", "resolve_references"]

_MISTAKABLE = re.compile(r"(?<![\w.-])[-+]?(?:0[0-7_]+|[1-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?)(?![\w.])")
_REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*(?:\.\w+)*)\}")


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; references stay as they are.

    Raises:
        UserError: If the file cannot be read, is not YAML, is nested too deeply, or holds something else than a
            mapping with text keys.
    """
    try:
        content = copy.deepcopy(_parsed(path.read_text(encoding="utf-8")))
    except (OmegaConfBaseException, yaml.YAMLError, ValueError, OSError) as error:
        raise UserError(f"{path}: not a readable YAML file ({error}).") from error
    except RecursionError as error:
        raise UserError(f"{path}: nested too deeply; a config has a few levels.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: must hold `key: value` pairs, got a {type(content).__name__}.")
    _demand_text_keys(content, str(path))
    return content


@functools.lru_cache(maxsize=256)  # a study reads each file once per trial, and parsing took a third of its planning
def _parsed(text: str) -> Any:
    """Parse YAML text; references stay as they are."""
    check_numbers(text)
    return OmegaConf.to_container(OmegaConf.load(io.StringIO(text)), resolve=False)


def check_numbers(text: str) -> None:
    """Check that YAML text holds no number that readers take for another: octal ``010`` is 8, sexagesimal ``1:30`` 90.

    Raises:
        ValueError: It holds one.
    """
    for token in yaml.scan(text) if _MISTAKABLE.search(text) else ():
        value = token.value if isinstance(token, yaml.ScalarToken) and token.plain else ""
        if _MISTAKABLE.fullmatch(value):
            raise ValueError(
                f"line {token.start_mark.line + 1}: `{value}` is octal or sexagesimal in YAML; write a decimal number, "
                "or quote a text"
            )


def resolve_references(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Replace every ``${a.b}`` by the value at that key, in nested mappings and lists.

    A text that is one reference takes the value itself, whatever its type; inside longer text the value is inserted.

    Args:
        config: Plain data.
        where: Name of the file, for messages.

    Raises:
        UserError: If a reference names no key or leads back to itself, or a text holds any other ``${``, such as a
            resolver.
    """
    return {key: _resolved(value, config, f"{where}: `{key}`", ()) for key, value in config.items()}


def _resolved(value: Any, config: Mapping[str, Any], where: str, trail: tuple[str, ...]) -> Any:
    if isinstance(value, Mapping):
        return {key: _resolved(item, config, where, trail) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, config, where, trail) for item in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    if whole := _REFERENCE.fullmatch(value):
        return _looked_up(whole[1], config, where, trail)
    text = _REFERENCE.sub(lambda match: str(_looked_up(match[1], config, where, trail)), value)
    if "${" in text:
        raise UserError(
            f"{where} holds `{value}`; only references to keys are allowed, such as `${{size}}`. Pass other values as "
            "overrides on the command line."
        )
    return text


def _looked_up(key: str, config: Mapping[str, Any], where: str, trail: tuple[str, ...]) -> Any:
    if key in trail:
        raise UserError(f"{where}: `${{{key}}}` refers to itself ({' → '.join((*trail, key))}); change one reference.")
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise UserError(f"{where} refers to `{key}`, and there is no such key; fix the `${{…}}` reference.")
        value = value[part]
    return _resolved(value, config, where, (*trail, key))


def _demand_text_keys(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise UserError(f"{where}: `{key}` must be text, as all keys are; write it in quotes.")
            _demand_text_keys(item, where)
    elif isinstance(value, list):
        for item in value:
            _demand_text_keys(item, where)
