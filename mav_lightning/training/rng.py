"""Randomness as a pure function of (seed, rank, batch), so that there is no generator state to lose."""

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["SeedEveryBatch"]

TRAIN, VALIDATION = 0, 1


class SeedEveryBatch(Callback):
    """Seeds Python's, NumPy's and torch's generators anew before every batch.

    Lightning's checkpoints hold no generator state, so a resumed run draws other noise. Saving the state would repair
    that for one process; deriving it also makes every rank exact, keeps validation, sampling and start-up from
    shifting the noise of training, and brings siblings of an ablation that draw different amounts (dropout in one,
    none in the other) back together at every step. Validation batch *i* draws the same noise each time, so its curve
    moves with the weights alone.

    Args:
        seed: Of the run, not negative.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seeds by the number of batches seen since the run began, over all epochs and restarts."""
        _seed_everything(self.seed, trainer.global_rank, TRAIN, trainer.fit_loop.total_batch_idx)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Seeds by the batch's place in the validation set."""
        _seed_everything(self.seed, trainer.global_rank, VALIDATION, batch_idx, dataloader_idx)


def _seed_everything(*key: int) -> None:
    word, long_word = np.random.SeedSequence(key).generate_state(2, np.uint64).tolist()
    random.seed(word)
    np.random.seed(word % 2**32)
    # torch.manual_seed does the same a hundred times slower, as it asks for every kind of device
    torch.default_generator.manual_seed(long_word)
    if torch.cuda.is_available():
        torch.cuda.manual_seed(long_word)
