"""Training of the small CLIP on image-text pairs."""

import hashlib
from typing import Any, cast

import torch
import torch.distributed
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

from datamodules.batch import ImageBatch
from mav_lightning.common.log_names import SCORE
from mav_lightning.common.schema import check
from mav_lightning.modules.base import NetworkModule
from mav_lightning.modules.optim import DEFAULT_OPTIMIZER, DEFAULT_SCHEDULE, MakeOptimizer, Schedule, optimization
from mav_lightning.nn.small_clip import SmallCLIP, split_words

__all__ = ["CLIPModule"]

_MOST_WORDS = 100_000  # stored with a network


class CLIPModule(NetworkModule):
    """Contrastive training of an image and a text encoder.

    Args:
        clip: The two encoders.
        optimizer: Builds the optimizer from parameter groups. AdamW with learning rate 3e-4 by default.
        schedule: Learning-rate factor by step. Linear warm-up over 100 steps by default.
    """

    network_name = "clip"

    def __init__(
        self, clip: SmallCLIP, optimizer: MakeOptimizer = DEFAULT_OPTIMIZER, schedule: Schedule = DEFAULT_SCHEDULE
    ) -> None:
        super().__init__()
        self.clip, self.make_optimizer, self.schedule = clip, optimizer, schedule
        self.words: set[str] = set()

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """Compute the contrastive loss of a batch."""
        for caption in batch.captions():
            self.words.update(split_words(caption, self.clip.length))
        return self.log_loss(self.clip.contrast(*self._embedded(batch)), "train", len(batch))

    def validation_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Log the loss on held-out pairs, and the retrieval accuracy: is a caption's nearest image one of its own?"""
        images, texts, ids = self._embedded(batch)
        self.log_loss(self.clip.contrast(images, texts, ids), "val", len(batch))
        nearest = (texts @ images.T).argmax(dim=1)
        accuracy = (ids[nearest] == ids).float().mean()
        self.log(f"{SCORE}/retrieval", accuracy, batch_size=len(batch), sync_dist=True)

    def test_step(self, batch: ImageBatch, batch_idx: int) -> None:
        """Log the loss of test pairs."""
        self.log_loss(self.clip.contrast(*self._embedded(batch)), "test", len(batch))

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        """Return the embeddings of a batch's images, shape (B, D)."""
        return self.clip.encode_image(batch.pixels)

    def on_train_end(self) -> None:
        """Collect the words of all ranks."""
        if torch.distributed.is_initialized():
            ranks: list[Any] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(ranks, sorted(self.words))
            self.words.update(*ranks)

    def training_facts(self) -> dict[str, Any]:
        """Return the words of the training captions, so that unknown words of a prompt can be reported."""
        return {"words": tuple(sorted(self.words)) if len(self.words) <= _MOST_WORDS else None}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Record the words so far."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["words"] = sorted(self.words)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the words of the captions seen before the checkpoint."""
        self.words = set(check(checkpoint.get("words", []), list[str], "words"))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return one optimizer for both encoders."""
        return optimization(self, self.make_optimizer, self.schedule)

    def _embedded(self, batch: ImageBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Embed the images and captions of all processes, among which the loss contrasts; with the captions' ids."""
        captions = batch.captions()
        ids = torch.tensor([_caption_id(caption) for caption in captions], device=self.device)
        parts = (self.clip.encode_image(batch.pixels), self.clip.encode_text(captions), ids)
        if not torch.distributed.is_initialized():
            return parts
        images, texts, ids = map(self._of_all, parts)
        return images, texts, ids

    def _of_all(self, part: Tensor) -> Tensor:
        """Concatenate the rows of all processes, of which each has as many in training only."""
        if self.training:
            return cast(Tensor, self.all_gather(part, sync_grads=True)).flatten(0, 1)
        return torch.cat(gather_all_tensors(part))


def _caption_id(caption: str) -> int:
    """Hash a caption to 63 bits."""
    return int.from_bytes(hashlib.blake2b(caption.encode(), digest_size=8).digest()) >> 1
