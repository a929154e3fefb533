"""Export of networks from finished and unfinished trainings, in the form they are shared in."""

from pathlib import Path

from lightning_utilities.core.rank_zero import rank_zero_warn
from torch import Tensor

from mav_lightning.common.errors import UserError
from mav_lightning.common.hashing import file_sha256
from mav_lightning.common.whole_file import new_folder
from mav_lightning.networks.card import CARD, NETWORK, SUMS, WEIGHTS, read_card
from mav_lightning.networks.stored import copy_network, write_network
from mav_lightning.training.checkpoint_io import AtomicCheckpointIO, checkpoint_step, checkpoints, is_intact
from mav_lightning.training.ema import saved_ema

__all__ = ["export_network"]


def export_network(run: Path, out: Path, step: int | None = None, overwrite: bool = False) -> int | None:
    """Write ``weights.safetensors``, ``network.json`` and ``SHA256SUMS`` of a training to a folder to share.

    Args:
        run: Folder of the training; nothing in it is changed. If it is unfinished, its newest checkpoint that matches
            its checksum is exported, with the averaged weights if available.
        out: Folder that does not exist yet or is empty.
        step: Step of the checkpoint to export. None for the result, or the newest checkpoint.
        overwrite: Replace an exported network that `out` holds.

    Returns:
        Step of the exported checkpoint, or None for a finished training.

    Raises:
        UserError: If `run` is no training or has no such checkpoint, or `out` is not empty.
    """
    card = read_card(run)
    finished = step is None and card.weights_sha256 is not None and (run / WEIGHTS).is_file()
    newest = None if finished else _chosen(run, step)
    with new_folder(out, NETWORK if overwrite else None) as folder:
        if newest is None:
            copy_network(run, folder)
        else:
            write_network(folder, _averaged(newest), card)
        sums = [f"{file_sha256(folder / file)}  {file}\n" for file in (WEIGHTS, CARD)]
        (folder / SUMS).write_text("".join(sums))
    return None if newest is None else checkpoint_step(newest)


def _chosen(run: Path, step: int | None) -> Path:
    """Return the checkpoint of a step, or the newest one that matches its checksum."""
    found = checkpoints(run / "checkpoints")
    if step is not None:
        found = [path for path in found if checkpoint_step(path) == step]
    for path in found:
        if is_intact(path):
            return path
        rank_zero_warn(f"{path} does not match its checksum and is skipped.")
    if found:
        raise UserError(f"{run}: no checkpoint matches its checksum; none can be exported.")
    if step is not None:
        raise UserError(f"{run}: has no checkpoint of step {step}; `mav checkpoint inspect {run}` lists them.")
    raise UserError(f"{run}: has no weights and no checkpoint yet; wait for the first one.")


def _averaged(file: Path) -> dict[str, Tensor]:
    checkpoint = AtomicCheckpointIO().load_checkpoint(file)
    ema = saved_ema(checkpoint)
    weights = {**checkpoint["state_dict"], **({} if ema is None else ema["average"])}
    if not all(isinstance(value, Tensor) for value in weights.values()):
        raise UserError(f"{file}: the averaged weights in it are not tensors; give a checkpoint of a training.")
    prefix = f"{checkpoint['network_name']}." if "network_name" in checkpoint else ""
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
