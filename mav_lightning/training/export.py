"""Networks in the form they are shared in, out of finished and of unfinished trainings."""

import hashlib
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from mav_lightning.checkpoint import CARD, WEIGHTS, copy_network, read_card
from mav_lightning.common.errors import UserError
from mav_lightning.common.whole_file import whole_file
from mav_lightning.training.checkpoint_io import AtomicCheckpointIO, checkpoint_step, newest_checkpoint
from mav_lightning.training.ema import EMA

__all__ = ["SUMS", "export_network"]

SUMS = "SHA256SUMS"


def export_network(run: Path, out: Path) -> int | None:
    """Writes ``weights.safetensors``, ``network.json`` and ``SHA256SUMS``: all that others need of a training.

    Args:
        run: Folder of the training, which may still be going on: then its newest checkpoint counts, with the averaged
            weights where it averages.
        out: A folder that does not exist yet, or is empty.

    Returns:
        The step of the checkpoint; None for a finished training.

    Raises:
        UserError: No training, no checkpoint yet, or `out` holds something.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out}: holds something already; give --out a new folder.")
    read_card(run)
    if (run / WEIGHTS).is_file():
        step = None
        copy_network(run, out)
    else:
        newest = newest_checkpoint(run / "checkpoints")
        if newest is None:
            raise UserError(f"{run}: has no weights and no checkpoint yet; wait for the first one.")
        step = checkpoint_step(newest)
        out.mkdir(parents=True, exist_ok=True)
        save_file(_averaged(newest), out / WEIGHTS)
        (out / CARD).write_bytes((run / CARD).read_bytes())
    sums = [f"{hashlib.sha256((out / file).read_bytes()).hexdigest()}  {file}\n" for file in (WEIGHTS, CARD)]
    with whole_file(out / SUMS) as partial:
        partial.write_text("".join(sums))
    return step


def _averaged(file: Path) -> dict[str, Tensor]:
    checkpoint = AtomicCheckpointIO().load_checkpoint(file)
    averages = [
        state["average"] for name, state in checkpoint["callbacks"].items() if name.startswith(EMA.__qualname__)
    ]
    weights = {**checkpoint["state_dict"], **(averages[0] if averages else {})}
    return {name: value.contiguous() for name, value in weights.items()}
