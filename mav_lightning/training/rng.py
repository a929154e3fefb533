"""Random numbers as a pure function of (seed, rank, batch), so that no generator state can be lost."""

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["SeedEveryBatch"]

TRAIN, VALIDATION = 0, 1


class SeedEveryBatch(Callback):
    """Reseed Python's, NumPy's and torch's generators before every batch.

    Lightning's checkpoints hold no generator state, so a resumed run draws other noise. Saving the state would fix that
    for one process. Deriving it also makes every rank exact and keeps validation, sampling and start-up from shifting
    the noise of training. It realigns variants of an ablation that draw different amounts (dropout in one, none in the
    other) at every step. Validation batch *i* draws the same noise each time, so its curve depends on the weights
    alone.

    Args:
        seed: Seed of the run, 0 or greater.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed by the number of batches since the start of the run, over all epochs and restarts."""
        _seed_everything(self.seed, trainer.global_rank, TRAIN, trainer.fit_loop.total_batch_idx)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Seed by the batch's position in the validation set."""
        _seed_everything(self.seed, trainer.global_rank, VALIDATION, batch_idx, dataloader_idx)


def _seed_everything(*key: int) -> None:
    word, long_word = np.random.SeedSequence(key).generate_state(2, np.uint64).tolist()
    random.seed(word)
    np.random.seed(word % 2**32)
    # torch.manual_seed does the same a hundred times slower, as it checks every kind of device
    torch.default_generator.manual_seed(long_word)
    if torch.cuda.is_available():
        torch.cuda.manual_seed(long_word)
