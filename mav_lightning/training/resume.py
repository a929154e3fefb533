"""Check that a checkpoint may be resumed: only the same run of the same network is."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning_utilities.core.rank_zero import rank_zero_warn

from mav_lightning.common.errors import UserError
from mav_lightning.networks.checkpoint_reader import read_checkpoint

__all__ = ["refuse_other_network", "saved_run", "warn_if_inexact"]


def saved_run(path: Path) -> dict[str, Any]:
    """Return the identity of the run that a verified checkpoint belongs to, without reading its tensors.

    It is empty for a checkpoint of a version that recorded none.

    Raises:
        UserError: If the file is not a checkpoint, whatever its checksum.
    """
    saved = read_checkpoint(path, "meta", mmap=True)
    found: dict[str, Any] = saved.get("callbacks", {}).get("Checkpointer", {}).get("run", {})
    return found


def refuse_other_network(path: Path, module: LightningModule) -> None:
    """Reject a verified checkpoint whose weights have other names or shapes, without reading its tensors.

    A module that builds layers in ``setup`` or ``configure_model`` may lack them yet.

    Args:
        path: Path of the checkpoint.
        module: Module that the run trains.

    Raises:
        UserError: If the weights differ; the message names the first difference.
    """
    saved = read_checkpoint(path, "meta", mmap=True)
    had = {name: tuple(value.shape) for name, value in saved["state_dict"].items()}
    has = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    grows = any(is_overridden(hook, module, LightningModule) for hook in ("setup", "configure_model"))
    for name in sorted(has.keys() if grows else had.keys() | has.keys()):
        if had.get(name) != has.get(name):
            raise UserError(
                f"{path}: a checkpoint of another network: `{name}` has shape {had.get(name, 'none')} there and "
                f"{has.get(name, 'none')} here. Use another `out`, or restore the old config."
            )


def warn_if_inexact(trainer: Trainer) -> None:
    """Warn if the train loader cannot be resumed exactly."""
    loader = trainer.train_dataloader
    # Lightning prefetches one batch from a loader without a length, and loses it on saving
    missing = [name for name in ("__len__", "state_dict", "load_state_dict") if not hasattr(loader, name)]
    if missing:
        rank_zero_warn(
            f"{type(loader).__name__} has no {', '.join(missing)}: an interrupted run resumes, but repeats or skips "
            "data; use the indexed reader for exact resuming."
        )
