"""Whether a checkpoint may be continued: only the same run, of the same network, goes on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_warn
from lightning.pytorch import Trainer
from torch import nn

from mav_lightning.common.errors import UserError

__all__ = ["refuse_other_run", "warn_if_inexact"]


def refuse_other_run(path: Path, run: Mapping[str, Any], module: nn.Module) -> None:
    """Compares a verified checkpoint, without reading its tensors, with the run about to continue it.

    Args:
        path: Of the checkpoint.
        run: What `Checkpointer` keeps of a run.
        module: What it trains.

    Raises:
        UserError: Another seed, number of steps or ranks, …; or other weights; names the first that differs.
    """
    saved = torch.load(path, weights_only=True, mmap=True, map_location="meta")
    way_out = "Give this run another `out`, or restore the old config."
    was = saved.get("callbacks", {}).get("Checkpointer", {})
    for name, value in run.items():
        if was.get(name) != value:
            raise UserError(f"{path}: belongs to a run with {name}={was.get(name)}, and {value} was asked. {way_out}")

    had = {name: tuple(value.shape) for name, value in saved["state_dict"].items()}
    has = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    for name in sorted(had.keys() | has.keys()):
        if had.get(name) != has.get(name):
            raise UserError(
                f"{path}: a checkpoint of another network: `{name}` has shape {had.get(name, 'none')} there and "
                f"{has.get(name, 'none')} here. {way_out}"
            )


def warn_if_inexact(trainer: Trainer) -> None:
    """Says so where the train loader cannot continue exactly after a kill."""
    loader = trainer.train_dataloader
    # Lightning fetches one batch ahead of a loader without a length, and forgets it on saving
    missing = [name for name in ("__len__", "state_dict", "load_state_dict") if not hasattr(loader, name)]
    if missing:
        rank_zero_warn(
            f"{type(loader).__name__} has no {', '.join(missing)}: a killed run continues, but repeats or skips data; "
            "use the indexed reader for exact continuation."
        )
