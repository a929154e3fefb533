"""Work that several processes share, a device each."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning import LightningModule

__all__ = ["predict_on"]


def predict_on(devices: int, module: "LightningModule") -> bool:
    """Runs ``Trainer.predict`` on as many processes, and says whether this one is the first, which goes on alone.

    Raises:
        UserError: So many are not to be had.
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
            raise UserError(f"--devices: {devices} are not to be had here ({error}); give fewer.") from error
        trainer.predict(module, return_predictions=False)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # or metrics of the first would wait for the others
    return trainer.is_global_zero
