"""Cache of image embeddings next to the shards, so that a frozen encoder runs once and not at every step.

Embeddings are computed at the encoder's own resolution, which stages that train on small images never decode.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from datamodules.index import Index, Sample, Shard, load_index, shard_folders
from datamodules.media import find_media
from datamodules.shards import IMAGE_SUFFIXES, SUFFIXES, SampleError
from mav_lightning.common.cropping import crop_to_square
from mav_lightning.common.errors import UserError
from mav_lightning.common.hashing import tensors_sha256
from mav_lightning.common.pixels import from_uint8
from mav_lightning.common.tracking import Track, untracked
from mav_lightning.common.whole_file import whole_file
from mav_lightning.media.media_reader import read_frames_at
from mav_lightning.media.pictures import decode_picture

__all__ = ["FRAMES", "Embed", "read_embeddings", "write_embeddings"]

FRAMES = 8  # per clip; fixed, since an embedding is identified by its encoder and its shards alone

_TOGETHER = 32  # samples per encoder batch

Embed = Callable[[Tensor], Tensor]
"""Images (B, 3, size, size) in [-1, 1] → unit vectors (B, D)."""


def write_embeddings(
    root: Path, embed: Embed, encoder: str, size: int, track: Track = untracked
) -> dict[Path, dict[str, str]]:
    """Embed every sample below `root` and write ``embeddings-<encoder>.safetensors`` to each folder of shards.

    A clip's embedding is the normalized mean over `FRAMES` evenly spaced frames. An existing file of the same encoder
    and shards is kept.

    Args:
        root: Dataset folder.
        embed: The encoder.
        encoder: Id of the encoder, part of the file name.
        size: Side of the encoder's square input in pixels.
        track: Shows progress.

    Returns:
        File → samples that could not be embedded, ``shard:key`` → why; their rows are NaN.

    Raises:
        UserError: There are no shards or no index.
    """
    done: dict[Path, dict[str, str]] = {}
    for folder in shard_folders(root):
        index, path = load_index(folder), _path(folder, encoder)
        bad: dict[str, str] = {}
        if _index_of(path) != index.sha256:
            rows = track(_embed_all(index, embed, size, bad), sum(1 for _ in index), f"embedding {folder}")
            table = _table(list(rows))
            with whole_file(path) as partial:
                facts = {"index": index.sha256, "encoder": encoder, "sha256": tensors_sha256({"embeddings": table})}
                save_file({"embeddings": table}, partial, facts)
        done[path] = bad
    return done


def read_embeddings(index: Index, encoder: str) -> dict[str, NDArray[np.float32]]:
    """Read cached embeddings.

    Returns:
        Key → embedding (D,), without samples that could not be embedded.

    Raises:
        UserError: There are none of this encoder, or they belong to other shards.
    """
    path = _path(index.folder, encoder)
    remedy = f"run `mav data embed {index.folder} --clip <folder of the CLIP>`"
    if (found := _index_of(path)) is None:
        others = ", ".join(
            sorted(file.stem.partition("-")[2] for file in index.folder.glob("embeddings-*.safetensors"))
        )
        raise UserError(f"{path}: no such embeddings (of other encoders: {others or 'none'}); {remedy}.")
    if found != index.sha256:
        raise UserError(f"{path}: made for other shards; {remedy}.")
    with safe_open(path, "pt") as file:
        stored = file.get_tensor("embeddings")
        if tensors_sha256({"embeddings": stored}) != file.metadata().get("sha256"):
            raise UserError(f"{path}: damaged (another sha256) or of an earlier version; remove it and {remedy}.")
    table: NDArray[np.float32] = stored.numpy()
    return {sample.key: row for (_, sample), row in zip(index, table, strict=True) if np.isfinite(row).all()}


def _path(folder: Path, encoder: str) -> Path:
    return folder / f"embeddings-{encoder}.safetensors"


def _index_of(path: Path) -> str | None:
    """sha256 of the index that a file was made for; None without a readable file."""
    try:
        with safe_open(path, "numpy") as file:
            return (file.metadata() or {}).get("index")
    except (OSError, SafetensorError):
        return None


def _embed_all(index: Index, embed: Embed, size: int, bad: dict[str, str]) -> Iterator[NDArray[np.float32] | None]:
    """Yield a row for every sample of the index, None for samples that cannot be decoded."""
    samples = list(index)
    for start in range(0, len(samples), _TOGETHER):
        found: list[NDArray[np.uint8] | None] = []
        for shard, sample in samples[start : start + _TOGETHER]:
            try:
                found.append(_images(index, shard, sample, size))
            except (UserError, OSError) as error:
                bad[f"{shard.name}:{sample.key}"] = str(error)
                found.append(None)
        decoded = [pictures for pictures in found if pictures is not None]
        rows = iter(())
        if decoded:
            vectors = embed(from_uint8(np.concatenate(decoded)[None])[0].contiguous().transpose(0, 1)).double()
            means = (one.mean(dim=0) for one in torch.split(vectors, [len(pictures) for pictures in decoded]))
            rows = ((mean / mean.norm()).float().numpy(force=True) for mean in means)
        yield from (None if pictures is None else next(rows) for pictures in found)


def _images(index: Index, shard: Shard, sample: Sample, size: int) -> NDArray[np.uint8]:
    """Decode the image, or `FRAMES` frames of the clip: (N, size, size, 3)."""
    if sample.error is not None or sample.media is None:
        raise SampleError(sample.error or "holds no video or image")
    members = index.read(shard, sample, SUFFIXES)
    suffix = find_media(members)
    assert suffix is not None  # the index has probed it
    if suffix in IMAGE_SUFFIXES:
        pictures = [decode_picture(members[suffix])]
    else:
        times = np.linspace(0.0, sample.media.span, FRAMES)
        pictures = [Image.fromarray(frame) for frame in read_frames_at(members[suffix], times.tolist())]
    return np.stack([crop_to_square(picture, size) for picture in pictures])


def _table(rows: list[NDArray[np.float32] | None]) -> Tensor:
    width = next((len(row) for row in rows if row is not None), 1)
    missing = np.full(width, np.nan, np.float32)
    return torch.from_numpy(np.stack([missing if row is None else row for row in rows]))
