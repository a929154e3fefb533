"""Work shared by several processes, one device each."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning import LightningModule

__all__ = ["is_first_process", "predict_on"]


def is_first_process() -> bool:
    """Return whether this is the main process, not one that another process launched to share its work."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def predict_on(devices: int, module: "LightningModule", progress: bool = True) -> bool:
    """Run ``Trainer.predict`` on several devices, with one process per device.

    Args:
        devices: Number of devices, and of processes.
        module: Module whose ``predict_step`` does the work.
        progress: Whether Lightning shows its bar of batches.

    Returns:
        Whether this is the first process, which continues alone.

    Raises:
        UserError: If fewer devices are available.
    """
    import torch.distributed
    from lightning import Trainer
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    from mav_lightning.common.errors import UserError
    from mav_lightning.training.quiet import quiet_lightning

    with quiet_lightning():
        try:
            trainer = Trainer(
                devices=devices, use_distributed_sampler=False, logger=False, enable_progress_bar=progress
            )
        except MisconfigurationException as error:
            raise UserError(
                f"{devices} devices are not available here ({error}); pass a smaller number.", argument="devices"
            ) from error
        trainer.predict(module, return_predictions=False)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # otherwise metrics of the first process would wait for the others
    return trainer.is_global_zero
