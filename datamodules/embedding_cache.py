"""Cache of image embeddings next to the shards, so that a frozen encoder runs once and not at every step.

Embeddings are computed at the encoder's own resolution, which stages that train on small images never decode.
"""

import functools
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from datamodules.cached_samples import decode_samples, demand_cache
from datamodules.index import Index, load_index
from datamodules.index_table import Sample
from mav_lightning.common.cropping import crop_to_square
from mav_lightning.common.errors import UserError
from mav_lightning.common.output import check_output
from mav_lightning.common.pixels import from_uint8
from mav_lightning.common.tensor_file import map_tensors, read_metadata
from mav_lightning.common.tracking import Track, untracked
from mav_lightning.common.whole_file import whole_file
from mav_lightning.media.media_reader import read_frames_at
from mav_lightning.media.pictures import decode_picture
from mav_lightning.shards.samples import IMAGE_SUFFIXES
from mav_lightning.shards.shard_listing import shard_folders

__all__ = ["FRAMES", "Embed", "Embeddings", "read_embeddings", "write_embeddings"]

FRAMES = 8  # per clip; fixed, since an embedding is identified by its encoder and its shards alone

_TOGETHER = 32  # samples per encoder batch
_BLOCK = 1 << 16  # rows looked at together

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
    indexes = [load_index(folder) for folder in shard_folders(root)]
    done: dict[Path, dict[str, str]] = {_path(index.folder, encoder): {} for index in indexes}
    for path in done:
        check_output(path, "file", argument=None)
    for index, (path, bad) in zip(indexes, done.items(), strict=True):
        if (read_metadata(path) or {}).get("index") != index.sha256:
            rows = track(_embed_all(index, embed, size, bad), len(index), f"embedding {index.folder}")
            table = _table(list(rows))
            with whole_file(path) as partial:
                facts = {"index": index.sha256, "encoder": encoder, "sha256": _sha256(table.numpy())}
                save_file({"embeddings": table}, partial, facts)
    return done


class Embeddings:
    """Cached embeddings of the samples of an index, mapped into memory.

    Args:
        path: File of the embeddings.
        samples: Number of samples in the index.

    Attributes:
        rows: Embedding of each sample, in the order of the index: (N, D); NaN where it could not be embedded.
        present: For each sample, whether it has an embedding.

    Raises:
        UserError: The file is damaged.
    """

    def __init__(self, path: Path, samples: int) -> None:
        rows = map_tensors(path)[1].get("embeddings")
        if rows is None or rows.dtype != np.float32 or rows.ndim != 2 or len(rows) != samples:
            raise UserError(f"{path}: damaged (it has no row for each of {samples} samples).")
        blocks = [np.isfinite(rows[start : start + _BLOCK]).all(axis=1) for start in range(0, samples, _BLOCK)]
        self.rows: NDArray[np.float32] = rows
        self.present: NDArray[np.bool_] = np.concatenate([np.empty(0, np.bool_), *blocks])
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        """Let another process map the file again, in place of copying it."""
        return Embeddings, (self._path, len(self.rows))


def read_embeddings(index: Index, encoder: str) -> Embeddings:
    """Read cached embeddings.

    Raises:
        UserError: No embeddings of this encoder exist, or they are damaged or of other shards.
    """
    path = _path(index.folder, encoder)
    remedy = f"run `mav data embed {index.folder} --clip <folder of the CLIP>`"
    others = [file.stem.partition("-")[2] for file in index.folder.glob("embeddings-*.safetensors")]
    found = demand_cache(path, ("embeddings", "encoders"), others, ("index", index.sha256), remedy)
    try:
        stored = Embeddings(path, len(index))
    except UserError as error:
        raise UserError(f"{error} {remedy.capitalize()}.") from error
    if _sha256(stored.rows) != found.get("sha256"):
        raise UserError(f"{path}: damaged (another sha256) or of an earlier version; remove it and {remedy}.")
    return stored


def _sha256(rows: NDArray[np.float32]) -> str:
    return hashlib.sha256(np.ascontiguousarray(rows).data).hexdigest()


def _path(folder: Path, encoder: str) -> Path:
    return folder / f"embeddings-{encoder}.safetensors"


def _embed_all(index: Index, embed: Embed, size: int, bad: dict[str, str]) -> Iterator[NDArray[np.float32] | None]:
    """Yield a row for every sample of the index, None for samples that cannot be decoded."""
    for start in range(0, len(index), _TOGETHER):
        numbers = range(start, min(start + _TOGETHER, len(index)))
        found = decode_samples(index, numbers, functools.partial(_images, size=size), bad)
        decoded = [pictures for pictures in found if pictures is not None]
        rows = iter(())
        if decoded:
            vectors = embed(from_uint8(np.concatenate(decoded)[None])[0].contiguous().transpose(0, 1)).double()
            means = (one.mean(dim=0) for one in torch.split(vectors, [len(pictures) for pictures in decoded]))
            rows = ((mean / mean.norm()).float().numpy(force=True) for mean in means)
        yield from (None if pictures is None else next(rows) for pictures in found)


def _images(suffix: str, content: bytes, sample: Sample, size: int) -> NDArray[np.uint8]:
    """Decode the image, or `FRAMES` frames of the clip: (N, size, size, 3)."""
    if suffix in IMAGE_SUFFIXES:
        pictures = [decode_picture(content)]
    else:
        assert sample.media is not None  # `decode_samples` has checked it
        times = np.linspace(0.0, sample.media.span, FRAMES)
        pictures = [Image.fromarray(frame) for frame in read_frames_at(content, times.tolist())]
    return np.stack([crop_to_square(picture, size) for picture in pictures])


def _table(rows: list[NDArray[np.float32] | None]) -> Tensor:
    width = next((len(row) for row in rows if row is not None), 1)
    missing = np.full(width, np.nan, np.float32)
    return torch.from_numpy(np.stack([missing if row is None else row for row in rows]))
