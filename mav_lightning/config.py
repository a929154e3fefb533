"""Configs: a typed trunk with targeted leaves, composed by OmegaConf.

The trunk (`Trunk`) holds what every stage shares; a leaf names a class or function with ``_target_`` and gives its
arguments. Four rules: ``bases`` lists files merged in order and is the only composition; overrides come next and may
set any argument in a target's signature, and nothing else; interpolations are resolved after overrides; every key is
checked against its target's signature before anything is built. Objects receive plain values, never a DictConfig.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from evaluation.version import MEASURES
from mav_lightning.common.configs import conf_root
from mav_lightning.common.errors import UserError, did_you_mean

__all__ = ["Trunk", "check", "find_config", "instantiate", "load_config", "parse_override", "resolve_needs"]

# A config may come out of somebody's checkpoint, and a target is a call. The list catches slips; it is no sandbox.
ALLOWED_TARGETS = ("mav_lightning.", "datamodules.", "evaluation.", "torch.optim.", "lightning.pytorch.callbacks.")
KINDS = ("data", "train", "pipeline", "sample", "score")


@dataclass
class Trunk:
    """What a stage is made of; keys that stay None are left out of the resolved config.

    Attributes:
        name: Of the stage; names its folder, never part of its identity.
        kind: data, train, pipeline, sample or score.
        needs: Role → folder of the stage that fills it. ``"@role"`` stands for the folder until it is known.
        seed: Of data order, initial weights and noise. None in stages that have no randomness of their own.
        size: Side of the square frames, in pixels.
        frames: Frames in a clip.
        task: Of the kinds data, pipeline and sample: the function that does the work.
        data: Of the kind train: the LightningDataModule.
        module: Of the kind train: the LightningModule.
        fit: Of the kind train: arguments of `mav_lightning.training.fit.fit`.
        trainer: Of the kind train: arguments of `lightning.Trainer`.
        protocol: Of scores and of floors: a name in ``conf/protocol``, replaced by that file's content.
    """

    name: str
    kind: str
    needs: dict[str, str] = field(default_factory=dict)
    seed: int | None = None
    size: int | None = None
    frames: int | None = None
    task: Any = None
    data: Any = None
    module: Any = None
    fit: Any = None
    trainer: Any = None
    protocol: Any = None


_TRUNK = {entry.name for entry in fields(Trunk)}
# Branches without a `_target_` of their own whose keys are arguments all the same.
_PLAIN = (bool, int, float, str, list, type(None))
_WIRED = ("callbacks", "logger", "seed", "trainer", "out", "track", "processes")  # given by whoever runs the stage
_SIGNATURES = {"trainer": "lightning.pytorch.Trainer", "fit": "mav_lightning.training.fit.fit"}


def find_config(path: str | Path) -> Path:
    """Finds a config as given, else among the shipped ones (with or without the leading ``conf/``).

    Raises:
        UserError: In neither place.
    """
    given = Path(path)
    relative = Path(*given.parts[1:]) if given.parts[:1] == ("conf",) else given
    for candidate in (given, conf_root() / relative):
        if candidate.is_file():
            return candidate
    known = [str(file.relative_to(conf_root())) for file in sorted(conf_root().rglob("*.yaml"))]
    raise UserError(
        f"{path}: no such config{did_you_mean(str(relative), known)}; `mav config --list` names the shipped ones."
    )


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a YAML mapping with its ``bases`` merged under it; interpolations stay as they are.

    Raises:
        UserError: Not YAML, not a mapping, or a base that is missing.
    """
    try:
        own = OmegaConf.load(path)
        if not isinstance(own, DictConfig):
            raise UserError(f"{path}: must hold `key: value` pairs, got a {type(own).__name__}.")
        if "${oc.env" in path.read_text():
            raise UserError(
                f"{path}: `oc.env` is not allowed, it prints secrets into results; pass the value as an override."
            )
        bases = own.pop("bases", [])
        merged = OmegaConf.merge(*(read_yaml(find_config(base)) for base in bases), own)
    except (OmegaConfBaseException, ValueError, OSError) as error:
        raise UserError(f"{path}: not a readable config ({error}).") from error
    except Exception as error:
        if type(error).__module__.startswith("yaml"):
            raise UserError(f"{path}: not valid YAML ({error}).") from error
        raise
    return OmegaConf.to_container(merged, resolve=False)  # type: ignore[return-value]


def load_config(
    path: str | Path, overrides: Sequence[str] = (), extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Loads a stage's config: bases, then overrides, then interpolations, then the check of every key.

    Args:
        path: The file, as `find_config` takes it.
        overrides: ``key.sub=value`` words; values are read as YAML.
        extra: Dotted key → value, applied after `overrides`.

    Returns:
        Plain containers, fully resolved, the targets' plain defaults filled in: a default that changes in the code
        changes the config. Top-level keys that are None are left out.

    Raises:
        UserError: Whatever is wrong, naming the key and the file.
    """
    file = find_config(path)
    config = {key: None for key in _TRUNK} | read_yaml(file)
    for key, value in [*map(parse_override, overrides), *(extra or {}).items()]:
        _override(config, key, value, file)
    try:
        resolved: Any = OmegaConf.to_container(OmegaConf.create(config), resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"{file}: {str(error).splitlines()[0]}; mend the `${{…}}` reference.") from error
    resolved = {key: value for key, value in resolved.items() if value is not None}
    _inline_protocol(resolved)
    check(resolved, str(file))
    return _with_defaults(resolved)


def check(config: Mapping[str, Any], where: str) -> None:
    """Checks trunk, kind, and every leaf's keys against its target's signature, without building anything.

    Raises:
        UserError: An unknown key or kind, a forbidden or missing target, a missing argument.
    """
    for key in config:
        if key not in _TRUNK:
            raise UserError(
                f"{where}: unknown key `{key}`{did_you_mean(key, _TRUNK)}; a config takes {', '.join(sorted(_TRUNK))}."
            )
    if config.get("kind") not in KINDS:
        raise UserError(f"{where}: `kind` must be one of {', '.join(KINDS)}, got {config.get('kind')!r}.")
    try:
        OmegaConf.merge(OmegaConf.structured(Trunk), dict(config))
    except OmegaConfBaseException as error:
        raise UserError(f"{where}: `{error.full_key}`: {str(error).splitlines()[0]}.") from error
    for path, node in _nodes(config):
        if signature := _signature_of(path, node):
            _check_keys(f"{where}: {path}", node, *signature)


def instantiate(node: Any) -> Any:
    """Builds a checked node, children first; plain values and lists pass through.

    ``_partial_: true`` gives the callable with its arguments bound instead of the result.
    """
    if isinstance(node, Mapping):
        built = {key: instantiate(value) for key, value in node.items() if not key.startswith("_")}
        if "_target_" not in node:
            return built
        target = _locate(node["_target_"])
        return functools.partial(target, **built) if node.get("_partial_") else target(**built)
    return [instantiate(value) for value in node] if isinstance(node, list) else node


def resolve_needs(config: Mapping[str, Any], folders: Mapping[str, Path]) -> dict[str, Any]:
    """Replaces every ``@role`` by its folder.

    Raises:
        UserError: A role without a folder.
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

    return walk(config)


def parse_override(word: str) -> tuple[str, Any]:
    """Splits ``key=value``; the value is read as YAML.

    Raises:
        UserError: No ``=``, no key, or a value that is not YAML.
    """
    key, equals, text = word.partition("=")
    if not equals or not key:
        raise UserError(f"override `{word}`: must read key=value, for example `seed=1` or `fit.steps=500`.")
    try:
        return key, OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))["value"]  # type: ignore[index,call-overload]
    except Exception as error:
        raise UserError(f"override `{word}`: the value is not YAML ({error}).") from error


def _override(config: dict[str, Any], key: str, value: Any, file: Path) -> None:
    """Sets one dotted key that exists, or that is an argument of the target it is set on."""
    *parents, last = key.split(".")
    node: Any = config
    for depth, part in enumerate(parents):
        if isinstance(node, dict) and node.get(part) is None and part in _SIGNATURES and not depth:
            node[part] = {}
        node = node.get(part) if isinstance(node, dict) else None
        if not isinstance(node, dict):
            raise UserError(f"override `{key}`: {file} has no `{'.'.join(parents[: depth + 1])}` to set it in.")
    known = set(node)
    if signature := _signature_of(".".join(parents), node):
        known |= signature[1]
    if last not in known:
        raise UserError(f"override `{key}`: no such key in {file}{did_you_mean(last, known)}.")
    node[last] = value


def _inline_protocol(config: dict[str, Any]) -> None:
    """A score stage is identified by what its protocol says and the code that measures, not by the protocol's name."""
    if isinstance(config.get("protocol"), str):
        name = config["protocol"]
        known = sorted(file.stem for file in (conf_root() / "protocol").glob("*.yaml"))
        if name not in known:
            raise UserError(f"protocol `{name}`: unknown{did_you_mean(name, known)}; known are {', '.join(known)}.")
        said = read_yaml(conf_root() / "protocol" / f"{name}.yaml")
        config["protocol"] = {"name": name, "measures": MEASURES, **said}


def _with_defaults(value: Any, path: str = "") -> Any:
    """Adds to every leaf the default values of its target that are plain data."""
    if isinstance(value, list):
        return [_with_defaults(item, f"{path}.{index}") for index, item in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    filled = {key: _with_defaults(item, f"{path}.{key}" if path else key) for key, item in value.items()}
    name = value.get("_target_") or (_SIGNATURES.get(path) if path != "trainer" else None)
    for parameter in inspect.signature(_locate(name)).parameters.values() if name else ():
        default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
        if parameter.name not in filled and isinstance(default, _PLAIN) and parameter.name not in _WIRED:
            filled[parameter.name] = default
    return filled


def _nodes(value: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(value, Mapping):
        yield path, value
        for key, item in value.items():
            yield from _nodes(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _nodes(item, f"{path}.{index}")


def _signature_of(path: str, node: Mapping[str, Any]) -> tuple[str, set[str], set[str]] | None:
    """The name, arguments and required arguments of the target whose arguments `node` holds, if it has one."""
    name = node.get("_target_") or _SIGNATURES.get(path)
    if not name:
        return None
    parameters = inspect.signature(_locate(name)).parameters.values()
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    required = {p.name for p in named if p.default is p.empty}
    complete = "_target_" in node and not node.get("_partial_")
    return name, {p.name for p in named}, required if complete else set()


def _check_keys(where: str, node: Mapping[str, Any], name: str, known: set[str], required: set[str]) -> None:
    keys = {key for key in node if key not in ("_target_", "_partial_")}
    for key in sorted(keys - known):
        raise UserError(f"{where}.{key}: `{name}` has no argument `{key}`{did_you_mean(key, known)}.")
    for key in sorted(required - keys):
        raise UserError(f"{where}: `{name}` needs the argument `{key}`; add it.")


def _locate(name: str) -> Callable[..., Any]:
    """Imports a dotted name from the allowed packages."""
    if not name.startswith(ALLOWED_TARGETS) and name not in _SIGNATURES.values():
        raise UserError(f"_target_ `{name}`: not allowed; targets start with {', '.join(ALLOWED_TARGETS)}.")
    from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

    ensure_torchvision_imports()
    module_name, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"_target_ `{name}`: cannot be imported ({error}).") from error
