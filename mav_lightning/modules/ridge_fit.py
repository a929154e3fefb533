"""Fitting the ridge map from text to image embeddings, and the map that there is without fitting."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import torch
from lightning import LightningDataModule

from datamodules.batch import ImageBatch
from mav_lightning.networks.stored import write_network
from mav_lightning.nn.ridge_prior import RidgePrior
from mav_lightning.nn.small_clip import TextImageEncoder

__all__ = ["fit_ridge", "write_identity"]


@torch.inference_mode()
def fit_ridge(
    net: RidgePrior,
    clip: TextImageEncoder,
    data: LightningDataModule,
    out: Path,
    batches: int = 64,
    penalty: float = 1e-3,
) -> float:
    """Fits `net` on the embeddings of image-text pairs and writes ``out/weights.safetensors``.

    Args:
        net: The map.
        clip: Embeds both sides.
        data: Image-text pairs; the first `batches` training batches are used.
        out: Folder to write to.
        batches: Number of batches.
        penalty: Of `RidgePrior.fit`.

    Returns:
        The share of the image embeddings' variance that the map explains.

    Raises:
        UserError: Samples without captions.
    """
    data.setup("fit")
    texts, images = [], []
    for batch in itertools.islice(_endless(data), batches):
        texts.append(clip.encode_text(batch.captions()))
        images.append(clip.encode_image(batch.pixels) if batch.embedding is None else batch.embedding)
    explained = net.fit(torch.cat(texts), torch.cat(images), penalty)
    _write(net, out)
    return explained


def write_identity(net: RidgePrior, out: Path) -> None:
    """Writes the map that gives the text embedding itself, which is what there is without a prior.

    Args:
        net: The map.
        out: Folder to write ``weights.safetensors`` to.
    """
    _write(net.identity_(), out)


def _write(net: RidgePrior, out: Path) -> None:
    write_network(out, net.state_dict())


def _endless(data: LightningDataModule) -> Iterator[ImageBatch]:
    while True:
        yield from data.train_dataloader()
