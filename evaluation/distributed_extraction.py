"""Extraction on several devices."""

from collections.abc import Iterable
from typing import Any

import torch
from lightning import LightningModule
from torch import nn

from evaluation.extraction import Extraction, Reading

__all__ = ["Extracting"]


class Extracting(LightningModule):
    """An extraction under `lightning.Trainer.predict`: each process extracts its own share, and nobody a clip twice.

    The Trainer needs ``use_distributed_sampler=False``: the shares are divided here, exactly, without padding. What
    could not be measured is left to the run that reads the features, which tries it again and says why.

    Args:
        extraction: The clips.

    Example:
        ``Trainer(devices=2, use_distributed_sampler=False).predict(Extracting(extraction), return_predictions=False)``
    """

    def __init__(self, extraction: Extraction) -> None:
        super().__init__()
        self.extraction = extraction
        # registered, so that they go where the Trainer wants them
        self.networks = nn.ModuleDict({name: one.extractor for name, one in extraction.loaded.items()})

    def predict_dataloader(self) -> Iterable[Reading | None]:
        """This process's clips that lack features, read ahead in threads."""
        missing = self.extraction.missing(self.global_rank, self.trainer.world_size)
        return _Readings(self.extraction, missing)

    def on_predict_start(self) -> None:
        """Says where the networks are."""
        self.extraction.to(self.device)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Leaves clips where they are until a batch is full."""
        return batch

    def predict_step(self, batch: Reading | None, batch_idx: int) -> None:
        """Extracts as soon as enough clips are there; None is an empty share."""
        if batch is not None:
            self.extraction.take(batch)

    def on_predict_end(self) -> None:
        """Extracts the rest, and waits for the others."""
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
