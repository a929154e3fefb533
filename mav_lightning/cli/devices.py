"""Work shared by several processes, one device each."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning import LightningModule

__all__ = ["predict_on"]


def predict_on(devices: int, module: "LightningModule") -> bool:
    """Run ``Trainer.predict`` on several devices, with one process per device.

    Args:
        devices: Number of devices, and of processes.
        module: Module whose ``predict_step`` does the work.

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
            trainer = Trainer(devices=devices, use_distributed_sampler=False, logger=False)
        except MisconfigurationException as error:
            raise UserError(
                f"{devices} devices are not available here ({error}); pass a smaller number.", argument="devices"
            ) from error
        trainer.predict(module, return_predictions=False)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # otherwise metrics of the first process would wait for the others
    return trainer.is_global_zero
