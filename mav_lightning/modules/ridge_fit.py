"""Tasks that make a linear prior: fitted by ridge regression, or the identity."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning import LightningDataModule

from datamodules.batch import ImageBatch
from mav_lightning.common.schema import PositiveFloat, PositiveInt
from mav_lightning.common.task import Task
from mav_lightning.common.tracking import Track
from mav_lightning.networks.stored import write_network
from mav_lightning.nn.base import TextImageEncoder
from mav_lightning.nn.ridge_prior import RidgePrior

__all__ = ["FitRidge", "IdentityPrior"]


@dataclass(frozen=True)
class FitRidge(Task):
    """Fit a ridge prior on the embeddings of image-text pairs and write its weights.

    Attributes:
        network: The prior to fit.
        clip: Encoder of the images and the captions.
        data: Image-text pairs; the first `batches` training batches are used.
        batches: Number of batches.
        penalty: Strength of the L2 penalty on the weights, per sample; see `RidgePrior.fit`.
    """

    network: RidgePrior
    clip: TextImageEncoder
    data: LightningDataModule
    batches: PositiveInt = 64
    penalty: PositiveFloat = 1e-3

    def run(self, place: Path, *, seed: int | None, track: Track) -> None:
        """Fit the prior and write ``weights.safetensors``.

        Args:
            place: Folder for the result.
            seed: Ignored, since the data have their own seed.
            track: Wraps the batches, to show progress.

        Raises:
            UserError: If samples have no captions.
        """
        self.fit(track)
        write_network(place, self.network.state_dict())

    @torch.inference_mode()
    def fit(self, track: Track | None = None) -> float:
        """Fit the prior in place and return the fraction of the image embeddings' variance that it explains.

        Args:
            track: Wraps the batches, to show progress. None for no progress.

        Raises:
            UserError: If samples have no captions.
        """
        self.data.setup("fit")
        batches = itertools.islice(_endless(self.data), self.batches)
        texts, images = [], []
        for batch in batches if track is None else track(batches, self.batches, "fit"):
            texts.append(self.clip.encode_text(batch.captions()))
            images.append(self.clip.encode_image(batch.pixels) if batch.embedding is None else batch.embedding)
        return self.network.fit(torch.cat(texts), torch.cat(images), self.penalty)


@dataclass(frozen=True)
class IdentityPrior(Task):
    """Write a prior that returns the text embedding unchanged, as the baseline without a prior.

    Attributes:
        network: The prior to set to the identity.
    """

    network: RidgePrior

    def run(self, place: Path, *, seed: int | None, track: Track) -> None:
        """Write ``weights.safetensors``.

        Args:
            place: Folder for the result.
            seed: Ignored; the task is deterministic.
            track: Ignored; the task reports no progress.
        """
        self.network.set_identity()
        write_network(place, self.network.state_dict())


def _endless(data: LightningDataModule) -> Iterator[ImageBatch]:
    while True:
        yield from data.train_dataloader()
