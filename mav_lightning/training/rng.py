"""Random numbers as a pure function of (seed, step, sample), so that no generator state can be lost."""

import random
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from mav_lightning.training.drawless import drawless
from mav_lightning.training.sample_random import Numbers, SampleRandom, batch_sizes

__all__ = ["TRAIN", "VALIDATION", "SeedEveryBatch", "sample_numbers", "seed_generators"]

TRAIN, VALIDATION = 0, 1


class SeedEveryBatch(Callback):
    """Derive what a batch draws from the seed, the optimizer step and the number of each sample in the step.

    Lightning's checkpoints hold no generator state, so a resumed run draws other noise. Saving the state would fix that
    for one process. Deriving it also keeps validation, sampling and start-up from shifting the noise of training,
    realigns variants of an ablation that draw different amounts at every step, and makes losses independent of how the
    samples of a step are divided among processes and accumulated batches, up to rounding; see `SampleRandom`. A
    validation sample draws the same noise each time, so the curve depends on the weights alone.

    Processes take contiguous parts of the samples of a training step, in the order of their ranks, and every R-th
    sample of a validation, as this project's loaders deal them out. Draws with NumPy and Python depend on the process.

    Args:
        seed: Seed of the run, 0 or greater.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._draws = SampleRandom()
        self._active, self._skipped = ExitStack(), ExitStack()
        self._step = -1
        self._seen: list[int] = []  # samples of each kind, in this step or this validation

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the layers that draw nothing; on one CPU thread, watching a small U-Net took 3 ms of 110 per step."""
        for module in drawless(pl_module):
            for hook in self._draws.skip(module):
                self._skipped.callback(hook.remove)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave no hooks in the module."""
        self._skipped.close()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed by the optimizer step, and number the samples within it."""
        if self._step != trainer.global_step:
            self._step, self._seen = trainer.global_step, []
        process = (trainer.global_rank, trainer.fit_loop.total_batch_idx)
        seed_generators(self.seed, TRAIN, trainer.global_step, process=process)
        self._begin(trainer, batch, interleaved=False)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Do not draw by sample in the optimizer, which has no samples: `SampleRandom` slows each of its many calls."""
        if pl_module.automatic_optimization:
            self._end()

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        """Stop drawing random numbers by sample until the next batch."""
        self._end()

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Number the samples of a validation from 0."""
        self._step, self._seen = -1, []

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Use the same seed for all batches; sample numbers make their noise differ."""
        if batch_idx == 0:
            self._seen = []
        seed_generators(self.seed, VALIDATION, dataloader_idx, process=(trainer.global_rank, batch_idx))
        self._begin(trainer, batch, interleaved=True)

    def on_validation_batch_end(self, trainer: Trainer, *_: object) -> None:
        """Stop drawing random numbers by sample until the next batch."""
        self._end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Stop drawing random numbers by sample after an error."""
        self._end()
        self._skipped.close()

    def _begin(self, trainer: Trainer, batch: Any, interleaved: bool) -> None:
        self._end()  # a batch may be skipped without a further hook
        sizes = batch_sizes(batch)
        self._seen += [0] * (len(sizes) - len(self._seen))
        place = (trainer.global_rank, trainer.world_size)
        numbers = [sample_numbers(n, seen, *place, interleaved) for n, seen in zip(sizes, self._seen, strict=False)]
        self._seen = [seen + n for seen, n in zip(self._seen, sizes, strict=False)]
        self._draws.set_samples(dict(zip(sizes, numbers, strict=True)))
        self._active.enter_context(self._draws)

    def _end(self) -> None:
        self._active.close()


def sample_numbers(size: int, seen: int, rank: int, world: int, interleaved: bool) -> Numbers:
    """Return the numbers of a batch's samples among those of all processes.

    Args:
        size: Number of samples in the batch, the same on every process.
        seen: Number of samples that this process had before.
        rank: Rank of this process.
        world: Number of processes.
        interleaved: Whether processes take every `world`-th sample instead of contiguous parts.
    """
    own = np.arange(size, dtype=np.uint64)
    if interleaved:
        return (np.uint64(seen) + own) * np.uint64(world) + np.uint64(rank)
    return np.uint64(seen * world + rank * size) + own


def seed_generators(*key: int, process: tuple[int, ...]) -> None:
    """Seed the generators of PyTorch, with the same seed on all processes, and those of Python and NumPy.

    Args:
        *key: Numbers that determine the draws, 0 or greater.
        process: Further numbers for Python and NumPy, whose draws are not divided by sample.
    """
    (shared,) = np.random.SeedSequence(key).generate_state(1, np.uint64).tolist()
    (own,) = np.random.SeedSequence((*key, *process)).generate_state(1, np.uint64).tolist()
    random.seed(own)
    np.random.seed(own % 2**32)
    # torch.manual_seed does the same a hundred times slower, as it checks every kind of device
    torch.default_generator.manual_seed(shared)
    if torch.cuda.is_available():
        torch.cuda.manual_seed(shared)
