"""Content ids: a stage is identified by what it computes, so the same computation has the same id everywhere."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mav_lightning.common.allowed import allowed_packages, own_imports, source_sha256
from mav_lightning.common.configs import leaves
from mav_lightning.common.errors import UserError
from mav_lightning.common.hashing import file_sha256
from mav_lightning.common.identity import RESULTS, identity_sha256, without_harmless
from mav_lightning.common.manifest import MANIFEST
from mav_lightning.config.nodes import MISSING

__all__ = ["packages_of", "ranks", "run_identity", "stage_id", "with_contents"]

_SUFFIX = "_sha256"


def stage_id(
    config: Mapping[str, Any],
    needs: Mapping[str, str],
    schema: int = RESULTS,
    packages: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Compute a stage's id: 64 bits of sha256 over everything that can change its result.

    If a path ``<key>`` has ``<key>_sha256`` next to it, the content counts and the location does not.

    Args:
        config: Resolved config as plain containers, defaults included.
        needs: Role → id of the needed stage.
        schema: Version of the code's results.
        packages: Package of the user's own that the config names → sha256 of its source, see `packages_of`.

    Returns:
        16 hexadecimal digits.

    Raises:
        UserError: If the number of devices is invalid, see `ranks`.
        ValueError: If a number is not finite.
        TypeError: If a value is not plain data.
    """
    own = {"packages": dict(packages)} if packages else {}
    content = without_harmless(_with_ranks(config))
    return identity_sha256({"config": content, "needs": dict(needs), "schema": schema, **own})[:16]


def run_identity(config: Mapping[str, Any], needs: Mapping[str, Path]) -> dict[str, Any]:
    """Return what identifies a training that a config describes: what counts of the config, and what it reads.

    It equals that of another run of the same config whose needed folders are elsewhere and have the same content.

    Args:
        config: Resolved config as plain containers; needed folders appear as ``@role``.
        needs: Role → folder of the needed stage.

    Raises:
        UserError: If the content of a needed folder cannot be read.
    """
    identity: dict[str, Any] = _with_network_ids(without_harmless(config))
    packages = packages_of(config)
    return (
        identity
        | {"needs": {role: _content_id(folder) for role, folder in needs.items()}}
        | ({"packages": packages} if packages else {})
    )


def packages_of(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the allowed packages whose classes a config names, and what they import → sha256 of their source.

    Changed code of a user's own package thereby changes the ids of the stages that use it. Of what it imports, packages
    that are neither installed nor this project's count.
    """
    # targets, samplers, and the kinds of metrics and extractors are all named by text
    named = [value for _, value in leaves(config) if isinstance(value, str)]
    used = [one for one in allowed_packages() if any(name.startswith(f"{one}.") for name in named)]
    for package in used:  # it grows
        used += [one for one in own_imports(package) if one not in used]
    return {package: source_sha256(package) for package in used}


def ranks(config: Mapping[str, Any]) -> int:
    """Return the number of devices, each with its own batch, that a stage trains on; 1 if its config sets none.

    Raises:
        UserError: If ``trainer.devices`` is neither a number nor a list, or ``trainer.num_nodes`` is no number.
    """
    trainer = config.get("trainer") or {}
    devices, nodes = trainer.get("devices", 1), trainer.get("num_nodes", 1)
    count = len(devices) if isinstance(devices, Sequence) and not isinstance(devices, str) else devices
    for key, number, received in (("devices", count, devices), ("num_nodes", nodes, nodes)):
        if type(number) is not int or number < 1:
            raise UserError(
                f"trainer.{key}: must be an integer of 1 or more, or a list of devices, because each device takes its "
                f"own batch and the result depends on their number; got {received!r}."
            )
    return int(count * nodes)


def with_contents(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Fill every ``<key>_sha256`` that is null with the hash of the file or shard folder at the path ``<key>``.

    Args:
        config: Resolved config of a stage.
        where: Start of error messages.

    Raises:
        UserError: If there is no path or nothing at it, or a training reads a folder that is not hashed.
    """
    for key, root in _data_roots(config):
        if isinstance(root, str) and not root.startswith("@") and Path(root).is_dir():
            raise UserError(
                f"{where}: `{key}` is {root}, whose content could change unnoticed; name a stage there, as `@data`, "
                "take `stage/data_folder.yaml` as that stage of the recipe, and set its `task.root` to the folder."
            )
    return {key: _filled(item, where, key) for key, item in config.items()}


def _data_roots(config: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the dotted key and the value of each folder that a training reads, one for each dataset of a mixture."""
    root = (config.get("data") or {}).get("root")
    if not isinstance(root, Mapping):
        return [("data.root", root)]
    return [(f"data.root.{name}.path", part["path"]) for name, part in root.items()]


def _filled(value: Any, where: str, path: str) -> Any:
    if not isinstance(value, Mapping):
        return value
    filled = {key: _filled(item, where, f"{path}.{key}") for key, item in value.items()}
    for key in filled:
        named = str(key).removesuffix(_SUFFIX)
        if named != key and named in filled and filled[key] in (None, MISSING):
            filled[key] = _sha256(
                filled[named], f"{where}: `{path}.{named}`", "folder" if named == "root" else "file or folder"
            )
            filled[named] = str(Path(filled[named]).resolve())  # a stage may run elsewhere
    return filled


def _sha256(path: Any, where: str, kind: str) -> str:
    if not isinstance(path, str) or path == MISSING:
        raise UserError(f"{where}: must be the path of your {kind}, got {path!r}; set it in `overrides`.")
    if not (Path(path).is_dir() if kind == "folder" else Path(path).exists()):
        relative = "" if Path(path).is_absolute() else f", seen from the current directory {Path.cwd()}"
        raise UserError(f"{where}: {path} is not a {kind}{relative}; set it to that of your data in `overrides`.")
    try:
        if not Path(path).is_dir():
            return file_sha256(Path(path))
        from datamodules.index import folder_sha256  # imports PyAV, which other studies do not need

        return folder_sha256(Path(path))
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _with_ranks(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config with the number of devices, unless it is 1, in place of their names."""
    if not isinstance(config.get("trainer"), Mapping):
        return dict(config)
    trainer = {key: value for key, value in config["trainer"].items() if key not in ("devices", "num_nodes")}
    more = {"ranks": found} if (found := ranks(config)) > 1 else {}
    return dict(config) | {"trainer": trainer | more}


def _with_network_ids(value: Any) -> Any:
    """Replace the folders of stored networks by the ids of the networks."""
    if isinstance(value, Mapping):
        return {
            key: _content_id(Path(item))
            if key == "_network_" and not str(item).startswith("@")
            else _with_network_ids(item)
            for key, item in value.items()
        }
    return [_with_network_ids(item) for item in value] if isinstance(value, list) else value


def _content_id(folder: Path) -> str | None:
    """Return what identifies the content of a folder: a network's id, or the hash of shards or of clips."""
    from mav_lightning.networks.card import CARD, network_id

    if (folder / CARD).is_file():
        return network_id(folder)
    if (folder / MANIFEST).is_file():
        return file_sha256(folder / MANIFEST)
    if any(folder.rglob("*.tar")):
        from datamodules.index import folder_sha256

        return folder_sha256(folder)
    return None
