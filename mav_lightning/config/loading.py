"""From a YAML file and overrides to a resolved config: bases, overrides, references, checks, defaults.

``bases`` lists files merged in order and is the only composition. Overrides come next; they may set any argument in a
target's signature. References (``${size}``) are resolved after overrides. Every key and every value is then checked
before anything is built, and the plain defaults of all targets are filled in.
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mav_lightning.common.configs import conf_root, find_protocol
from mav_lightning.common.errors import UserError, nearest
from mav_lightning.common.schema import build, parameters
from mav_lightning.common.yaml_files import check_numbers, read_mapping, resolve_references
from mav_lightning.config.nodes import check_arguments, check_networks, check_node
from mav_lightning.config.targets import locate
from mav_lightning.config.trunk import SECTIONS, Trunk

__all__ = ["check", "find_config", "load_config", "parse_override", "read_yaml", "resolve_needs"]

_TRUNK = [entry.name for entry in fields(Trunk)]
_NAME = re.compile(r"\w[\w.-]{0,99}")
_PLAIN = (bool, int, float, str, list, type(None))
# Sections that hold the arguments of a call → those arguments that the run itself gives.
_CALLS = {
    "trainer": frozenset[str](),
    "fit": frozenset({"module", "data", "out", "seed", "trainer", "identity", "extend", "any_machine"}),
}


def find_config(path: str | Path) -> Path:
    """Find a config at the path given, else among the shipped ones, with or without the leading ``conf/``.

    Raises:
        UserError: If it is in neither place.
    """
    given = Path(path)
    relative = Path(*given.parts[1:]) if given.parts[:1] == ("conf",) else given
    for candidate in (given, conf_root() / relative):
        if candidate.is_file():
            return candidate
    known = [str(file.relative_to(conf_root())) for file in sorted(conf_root().rglob("*.yaml"))]
    raise UserError(
        f"{path}: no such config; `mav config --list` prints the shipped ones.",
        suggestion=nearest(str(relative), known),
    )


def read_yaml(path: Path, above: Sequence[Path] = ()) -> dict[str, Any]:
    """Read a YAML mapping with its ``bases`` merged under it; references stay as they are.

    Args:
        path: The file.
        above: Files whose bases lead here, to detect a cycle.

    Raises:
        UserError: If a file is not a YAML mapping, a base is missing, or files are bases of each other.
    """
    if path in above:
        cycle = " → ".join(str(file) for file in (*above, path))
        raise UserError(f"{path}: `bases` refer back to the file itself ({cycle}); remove one of them.")
    own = read_mapping(path)
    bases = own.pop("bases", [])
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise UserError(f"{path}: `bases` must be a list of config files, got {bases!r}.")
    merged: dict[str, Any] = {}
    for base in bases:
        merged = _merged(merged, read_yaml(find_config(base), (*above, path)))
    return _merged(merged, own)


def load_config(
    path: str | Path, overrides: Sequence[str] = (), extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Load the config of a stage and check it.

    Args:
        path: The file, see `find_config`.
        overrides: ``key.sub=value`` words; values are read as YAML.
        extra: Dotted key → value, applied after `overrides`. None for none.

    Returns:
        Plain containers, fully resolved, with the plain defaults of all targets: a default that changes in the code
        changes the config. Top-level keys that are None are left out.

    Raises:
        UserError: If anything is wrong, naming the file, the key and the value.
    """
    file = find_config(path)
    config = {key: None for key in _TRUNK} | read_yaml(file)
    for key, value in [*map(parse_override, overrides), *(extra or {}).items()]:
        _override(config, key, value, file)
    resolved = {key: value for key, value in resolve_references(config, str(file)).items() if value is not None}
    _inline_protocol(resolved)
    check(resolved, str(file))
    filled: dict[str, Any] = _with_defaults(resolved)
    return filled


def check(config: Mapping[str, Any], where: str) -> None:
    """Check every key and every value of a config, without building anything.

    Args:
        config: The resolved config.
        where: Name of the file, for messages.

    Raises:
        UserError: If a key is unknown or missing, a target is not allowed, or a value does not fit the signature.
    """
    try:
        trunk = build(Trunk, config, "")
        if not _NAME.fullmatch(trunk.name):
            raise UserError(f"name: must be letters, digits, `_`, `-` and `.`, at most 100, got {trunk.name!r}.")
        for section, name in SECTIONS.items():
            if (node := getattr(trunk, section)) is not None:
                check_node(node, _imported(name), section)
                if section == "module":
                    check_networks(node, section)
        if trunk.protocol is not None:
            from evaluation.protocol import protocol_of_stage

            protocol_of_stage(trunk.protocol)
        for section, given in _CALLS.items():
            if (arguments := getattr(trunk, section)) is not None:
                _check_arguments(section, arguments, given)
    except UserError as error:
        raise UserError(f"{where}: {error.message}", suggestion=error.suggestion) from error


def resolve_needs(config: Mapping[str, Any], folders: Mapping[str, Path]) -> dict[str, Any]:
    """Replace every ``@role`` by the folder that fills the role.

    Args:
        config: A resolved config.
        folders: Role → folder.

    Raises:
        UserError: If a role has no folder.
    """

    def walk(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: walk(item) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item) for item in value]
        if isinstance(value, str) and value.startswith("@"):
            role, _, rest = value[1:].partition("/")
            if role not in folders:
                raise UserError(f"needs.{role}: no folder given; add `needs.{role}=DIR`, the folder of that stage.")
            return str(folders[role] / rest)
        return value

    return {key: walk(value) for key, value in config.items()}


def parse_override(word: str) -> tuple[str, Any]:
    """Split ``key=value``; the value is read as YAML.

    Raises:
        UserError: If there is no ``=`` or no key, or the value is not YAML.
    """
    key, equals, text = word.partition("=")
    if not equals or not key:
        raise UserError(f"override `{word}`: must read key=value, for example `seed=1` or `fit.steps=500`.")
    try:
        check_numbers(text)
        parsed: Any = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]), resolve=False)
        return key, parsed["value"]
    except (OmegaConfBaseException, YAMLError, ValueError, KeyError, RecursionError) as error:
        raise UserError(f"override `{key}`: the value is not YAML ({error}).") from error


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two nested mappings; values of `over` win, and lists are replaced whole."""
    both = {
        key: _merged(under[key], value)
        for key, value in over.items()
        if isinstance(under.get(key), Mapping) and isinstance(value, Mapping)
    }
    return {**under, **over, **both}


def _override(config: dict[str, Any], key: str, value: Any, file: Path) -> None:
    """Set one dotted key that exists, or that is an argument of the target it is set on."""
    *parents, last = key.split(".")
    node: Any = config
    hint: Any = None
    for depth, part in enumerate(parents):
        declared = _parameters_of(".".join(parents[:depth]), node, hint)
        hint = declared[part].annotation if part in declared else None
        if isinstance(node, dict) and node.get(part) is None and part in _CALLS and not depth:
            node[part] = {}
        node = node.get(part) if isinstance(node, dict) else None
        if not isinstance(node, dict):
            raise UserError(f"override `{key}`: {file} has no `{'.'.join(parents[: depth + 1])}` to set it in.")
    known = set(node) | set(_parameters_of(".".join(parents), node, hint))
    if last not in known:
        raise UserError(f"override `{key}`: no such key in {file}.", suggestion=nearest(last, known))
    node[last] = value


def _inline_protocol(config: dict[str, Any]) -> None:
    """Replace the name of a protocol by its content, as a score is identified by what its protocol specifies."""
    name = config.get("protocol")
    if not isinstance(name, str):
        return
    from evaluation.version import MEASURES

    config["protocol"] = {"name": name, "measures": MEASURES, **read_yaml(find_protocol(name))}


def _check_arguments(section: str, arguments: Mapping[str, Any], given: frozenset[str]) -> None:
    if taken := sorted(given & set(arguments)):
        raise UserError(f"{section}.{taken[0]}: is given by the run itself; remove it.")
    check_arguments(_call(section), arguments, section)
    if section == "trainer":
        from mav_lightning.training.trainer_options import check_trainer_options

        check_trainer_options(arguments)


def _with_defaults(value: Any, path: str = "", hint: Any = None) -> Any:
    """Add the defaults that are plain data to every node and to every mapping that a dataclass is built from."""
    if isinstance(value, list):
        return [_with_defaults(item, f"{path}.{index}") for index, item in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    known = _parameters_of(path, value, hint)
    hints = {name: parameter.annotation for name, parameter in known.items()}
    filled = {
        key: _with_defaults(item, f"{path}.{key}" if path else key, hints.get(key)) for key, item in value.items()
    }
    if path == "trainer":  # Lightning's own defaults are filled in by `fit`, and by each version of Lightning
        return filled
    for name, parameter in known.items():
        default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
        if name not in filled and isinstance(default, _PLAIN) and parameter.kind is not parameter.VAR_KEYWORD:
            filled[name] = default
    return filled


def _parameters_of(path: str, node: Mapping[str, Any], hint: Any = None) -> Mapping[str, inspect.Parameter]:
    """Return the arguments that a node, a section or a dataclass takes; none for any other mapping."""
    if "_target_" in node:
        return parameters(locate(node["_target_"], path))
    if path in _CALLS:
        return {name: one for name, one in parameters(_call(path)).items() if name not in _CALLS[path]}
    built = [kind for kind in (hint, *get_args(hint)) if isinstance(kind, type) and is_dataclass(kind)]
    return {} if "_network_" in node or not built else parameters(built[0])


def _call(section: str) -> Callable[..., Any]:
    if section == "trainer":
        trainer: Callable[..., Any] = _imported("lightning.pytorch.Trainer")
        return trainer
    from mav_lightning.training.fit import fit

    return fit


def _imported(name: str) -> Any:
    import importlib

    from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

    ensure_torchvision_imports()
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)
