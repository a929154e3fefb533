"""Extraction of features on several devices."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from evaluation.extraction import Extraction, Reading
from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

ensure_torchvision_imports()

from lightning import LightningModule  # noqa: E402

__all__ = ["Extracting"]


class Extracting(LightningModule):
    """Feature extraction under `lightning.Trainer.predict`: each process extracts its own share of the clips.

    The Trainer needs ``use_distributed_sampler=False``: the shares are an exact partition, without padding. Clips that
    fail are tried again by the run that reads the features, which reports them.

    Args:
        extraction: Clips, extractors and the folder that receives the features.

    Example:
        ``Trainer(devices=2, use_distributed_sampler=False).predict(Extracting(extraction), return_predictions=False)``
    """

    def __init__(self, extraction: Extraction) -> None:
        super().__init__()
        self.extraction = extraction
        # registered, so that the Trainer moves them
        self.networks = nn.ModuleDict({name: one.extractor for name, one in extraction.loaded.items()})

    def predict_dataloader(self) -> Iterable[Reading | None]:
        """Return this process's clips without features, read in advance by threads."""
        missing = self.extraction.missing(self.global_rank, self.trainer.world_size)
        return _Readings(self.extraction, missing)

    def on_predict_start(self) -> None:
        """Move the extractors to this process's device."""
        self.extraction.to(self.device)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Leave clips on the CPU until a batch is full."""
        return batch

    def predict_step(self, batch: Reading | None, batch_idx: int) -> None:
        """Add a clip, and extract features once a batch is full; None if this process has no clips."""
        if batch is not None:
            self.extraction.take(batch)

    def on_predict_end(self) -> None:
        """Extract the last batches, and wait for the other processes."""
        self.extraction.finish(self.global_rank, self.trainer.world_size)
        self.trainer.strategy.barrier()


class _Readings:
    def __init__(self, extraction: Extraction, missing: list[Any]) -> None:
        self.extraction, self.missing = extraction, missing

    def __len__(self) -> int:
        return max(len(self.missing), 1)  # Lightning wants at least one

    def __iter__(self) -> Any:
        if not self.missing:
            return iter([None])
        return self.extraction.readings(self.missing)
