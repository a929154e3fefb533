"""Cache of the latents of every frame next to the shards, so that a frozen autoencoder encodes each frame once.

There is one file per shard. A run that was interrupted goes on at the first shard without one, and no more than one
shard's latents are in memory.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from datamodules.cached_samples import decode_samples, demand_cache
from datamodules.frame_cache import FrameCache, KeptFrames
from datamodules.index import Index, Shard, load_index
from datamodules.index_table import Sample
from mav_lightning.common.cropping import crop_to_square
from mav_lightning.common.errors import UserError
from mav_lightning.common.output import check_output
from mav_lightning.common.pixels import from_uint8
from mav_lightning.common.tensor_file import map_tensors, read_metadata
from mav_lightning.common.tracking import Track, untracked
from mav_lightning.common.whole_file import whole_file
from mav_lightning.media.media_reader import open_media
from mav_lightning.media.pictures import decode_picture
from mav_lightning.media.timeline import Timeline, even_timeline
from mav_lightning.shards.samples import IMAGE_SUFFIXES
from mav_lightning.shards.shard_listing import shard_folders

__all__ = ["Encode", "Latents", "latents_name", "write_latents"]

_TOGETHER = 8  # frames per batch of the autoencoder

Encode = Callable[[Tensor], Tensor]
"""Images (B, 3, size, size) in [-1, 1] → latents (B, C, height, width)."""


class _Encoded(NamedTuple):
    """Latents (T, C, height, width) of a sample, float16, and the times of its frames."""

    latents: NDArray[np.float16]
    timeline: Timeline


def latents_name(vae: str, size: int) -> str:
    """Return the id of latents: the id of the autoencoder, and the side of the encoded square in pixels."""
    return f"{vae}-{size}"


def write_latents(
    root: Path, encode: Encode, vae: str, size: int, track: Track = untracked
) -> dict[Path, dict[str, str]]:
    """Encode every frame below `root`; write ``latents-<vae>-<size>-<shard>.safetensors`` to each folder of shards.

    The largest centered square of each frame is resized to `size`, as data modules do. An existing file of the same
    autoencoder, size and shard is kept.

    Args:
        root: Dataset folder.
        encode: The encoder.
        vae: Id of the autoencoder, part of the file name.
        size: Side of the squares in pixels.
        track: Shows progress.

    Returns:
        File → samples that could not be encoded, ``shard:key`` → why; they have no latents.

    Raises:
        UserError: There are no shards or no index.
    """
    name = latents_name(vae, size)
    places = [(index, shard) for index in map(load_index, shard_folders(root)) for shard in index.shards]
    done: dict[Path, dict[str, str]] = {_path(index, name, shard): {} for index, shard in places}
    for path in done:
        check_output(path, "file", argument=None)
    for (index, shard), (path, bad) in zip(places, done.items(), strict=True):
        if (read_metadata(path) or {}).get("shard") != shard.sha256:
            rows = list(track(_encode_all(index, shard, encode, size, bad), shard.samples, f"encoding {shard.name}"))
            with whole_file(path) as partial:
                save_file(_columns(rows), partial, {"shard": shard.sha256, "latents": name, "crop": "centered square"})
    return done


class Latents:
    """Cached latents of the samples of an index, mapped into memory.

    Args:
        index: Index of the shards.
        name: Id of the latents; see `latents_name`.

    Attributes:
        present: For each sample, whether it has latents, shape (N,).

    Raises:
        UserError: No latents of this autoencoder and size exist, or they are damaged or of other shards.
    """

    def __init__(self, index: Index, name: str) -> None:
        self._index, self._name = index, name
        self._shards = [_columns_of(index, name, shard) for shard in index.shards]
        self._firsts = np.cumsum([0, *(shard.samples for shard in index.shards)])
        present = [np.diff(columns["first"]) > 0 for columns in self._shards]
        self.present: NDArray[np.bool_] = np.concatenate([np.empty(0, np.bool_), *present])

    def __reduce__(self) -> tuple[object, ...]:
        """Let another process map the files again, in place of copying them."""
        return Latents, (self._index, self._name)

    def of(self, number: int) -> FrameCache:
        """Return a cache of frames that holds the latents of one sample: float16, shape (T, C, height, width).

        Args:
            number: Number of the sample in the index.

        Raises:
            UserError: A latent is not finite.
        """
        shard = int(np.searchsorted(self._firsts, number, side="right")) - 1
        columns, row = self._shards[shard], number - int(self._firsts[shard])
        frames = slice(*columns["first"][row : row + 2])
        latents = np.array(columns["latents"][frames])
        if not np.isfinite(latents).all():
            path = _path(self._index, self._name, self._index.shards[shard])
            raise UserError(f"{path}: damaged (not finite); remove it and run `mav data encode` again.")
        times = np.array(columns["times"][frames])
        timeline = Timeline(times, float(columns["fps"][row]), bool(columns["even"][row]))
        return _OneSample(KeptFrames(latents, timeline))


class _OneSample(FrameCache):
    """Cache that holds the frames of one sample, whichever is looked for."""

    def __init__(self, kept: KeptFrames) -> None:
        super().__init__(0)
        self._one = kept

    def find(self, key: str) -> KeptFrames:
        """Return the frames of the sample."""
        return self._one


def _path(index: Index, name: str, shard: Shard) -> Path:
    return index.folder / f"latents-{name}-{Path(shard.name).stem}.safetensors"


def _columns_of(index: Index, name: str, shard: Shard) -> dict[str, NDArray[np.generic]]:
    path = _path(index, name, shard)
    vae, _, size = name.rpartition("-")
    remedy = f"run `mav data encode {index.folder} --vae <folder of the autoencoder {vae}> --size {size}`"
    stem = len(Path(shard.name).stem) + 1
    others = {file.stem[len("latents-") : -stem] for file in index.folder.glob(f"latents-*-{path.stem[-stem + 1 :]}.*")}
    demand_cache(path, ("latents", "autoencoders and sizes"), others, ("shard", shard.sha256), remedy)
    columns = map_tensors(path)[1]
    first = columns.get("first")
    if first is None or len(first) != shard.samples + 1 or len(columns["latents"]) != int(first[-1]):
        raise UserError(f"{path}: damaged (it has no row for each of {shard.samples} samples); {remedy}.")
    return columns


def _encode_all(
    index: Index, shard: Shard, encode: Encode, size: int, bad: dict[str, str]
) -> Iterator[_Encoded | None]:
    """Yield the latents of every sample of a shard, None for samples that cannot be decoded."""

    def encoded(suffix: str, content: bytes, sample: Sample) -> _Encoded:
        if suffix in IMAGE_SUFFIXES:
            squares = np.stack([crop_to_square(decode_picture(content), size)])
            return _Encoded(_encoded([squares], encode), even_timeline(1, 1))
        with open_media(content) as video:
            frames = video.frames(range(len(video.timeline)))
            groups = _grouped((crop_to_square(Image.fromarray(frame), size) for frame in frames), _TOGETHER)
            return _Encoded(_encoded(groups, encode), video.timeline)

    before = sum(one.samples for one in index.shards[: index.shards.index(shard)])
    for number in range(before, before + shard.samples):
        yield from decode_samples(index, [number], encoded, bad)


def _grouped(frames: Iterator[NDArray[np.uint8]], count: int) -> Iterator[NDArray[np.uint8]]:
    group: list[NDArray[np.uint8]] = []
    for frame in frames:
        group.append(frame)
        if len(group) == count:
            yield np.stack(group)
            group = []
    if group:
        yield np.stack(group)


def _encoded(groups: Iterable[NDArray[np.uint8]], encode: Encode) -> NDArray[np.float16]:
    rows = []
    for group in groups:
        images = from_uint8(group[None])[0].transpose(0, 1).contiguous()
        rows.append(encode(images).half().numpy(force=True))
    return np.ascontiguousarray(np.concatenate(rows))


def _columns(rows: Sequence[_Encoded | None]) -> dict[str, Tensor]:
    kept = [row for row in rows if row is not None]
    counts = [0 if row is None else len(row.latents) for row in rows]
    empty = np.empty((0, 1, 1, 1), np.float16)
    shown = [even_timeline(1, 1) if row is None else row.timeline for row in rows]
    return {
        "latents": torch.from_numpy(np.concatenate([row.latents for row in kept]) if kept else empty),
        "times": torch.from_numpy(np.concatenate([np.empty(0), *(row.timeline.times for row in kept)])),
        "first": torch.from_numpy(np.cumsum([0, *counts])),
        "fps": torch.tensor([one.fps for one in shown], dtype=torch.float64),
        "even": torch.tensor([one.is_even for one in shown], dtype=torch.uint8),
    }
