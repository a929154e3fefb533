"""What a user brings to a study from outside: it counts by its content, as the stages do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mav_lightning.common.errors import UserError
from mav_lightning.common.hashing import file_sha256
from mav_lightning.config.nodes import MISSING

__all__ = ["with_contents"]

_SUFFIX = "_sha256"


def with_contents(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Fills every ``<key>_sha256`` that is null with what lies at the path ``<key>``: a file, or a folder of shards.

    Args:
        config: Of a stage, resolved.
        where: Begins messages.

    Raises:
        UserError: No path, or nothing there; a training that reads a folder by its path alone.
    """
    root = (config.get("data") or {}).get("root")
    if isinstance(root, str) and not root.startswith("@") and Path(root).is_dir():
        raise UserError(
            f"{where}: `data.root` is {root}, and what it holds could change unseen; leave `data.root` alone, take "
            "`stage/data_folder.yaml` as the recipe's data stage, and give the folder as its `task.root`."
        )
    return {key: _filled(item, where, key) for key, item in config.items()}


def _filled(value: Any, where: str, path: str) -> Any:
    if not isinstance(value, Mapping):
        return value
    filled = {key: _filled(item, where, f"{path}.{key}") for key, item in value.items()}
    for key in filled:
        named = str(key).removesuffix(_SUFFIX)
        if named != key and named in filled and filled[key] in (None, MISSING):
            filled[key] = _sha256(filled[named], f"{where}: `{path}.{named}`")
            filled[named] = str(Path(filled[named]).resolve())  # a stage may run elsewhere
    return filled


def _sha256(given: Any, where: str) -> str:
    if not isinstance(given, str) or given == MISSING:
        raise UserError(
            f"{where}: must be the path of what you bring, got {given!r}; give it in the study's `overrides`."
        )
    try:
        if not Path(given).is_dir():
            return file_sha256(Path(given))
        from datamodules.index import folder_sha256  # PyAV, for which other studies need not wait

        return folder_sha256(Path(given))
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
