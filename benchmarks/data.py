"""Clips per second of training data: this reader next to webdataset with PyAV, decord and torchcodec, in one run.

    python benchmarks/data.py > data.md

Videos of 10 s, 256 × 256, 30 fps in H.264, with key frames every 12, 30 and 250 frames; clips of 16 frames at random
frame rates. Every reader makes the same batches in PyTorch's workers. decord and torchcodec are left out, with the
reason on stderr, if they cannot be imported. Each cell is a process of its own. On a busy machine, compare clips per
second of processor time.
"""

import functools
import importlib
import io
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import av
import numpy as np
import torch
import typer
import webdataset
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from datamodules.batch import ClipBatch
from datamodules.datamodule import ClipData
from datamodules.decoders import ClipDecoder, Example
from datamodules.fps_sampler import UniformFps
from datamodules.index import build_index
from datamodules.shards import write_shards
from mav_lightning.common.video_encoding import encode_mp4

SIZE, FRAMES, FPS, SECONDS, BATCH, VIDEOS = 256, 16, 30.0, 10, 4, 2
LOW, HIGH = 1.0, 30.0  # frames per second of the clips

T = TypeVar("T")
Read = Callable[[bytes, NDArray[np.float64]], NDArray[np.uint8]]


class Cell(NamedTuple):
    """What one reader needed."""

    clips: float
    wall: float
    processor: float
    memory: float


def film(seed: int) -> NDArray[np.uint8]:
    """Make a video: textures that drift in front of each other."""
    rng = np.random.default_rng(seed)
    layers = []
    for cells, weight in ((8, 128), (24, 77), (96, 51)):
        noise = torch.from_numpy(rng.uniform(0, 255, (1, 3, cells, cells)))
        texture = torch.nn.functional.interpolate(noise, 2 * SIZE, mode="bicubic").clamp(0, 255)[0]
        layers.append((weight * texture.permute(1, 2, 0).numpy()).astype(np.uint16))
    frames = []
    for number in range(int(FPS * SECONDS)):
        shifts = [(int(number * speed) % SIZE, int(number * speed / 2) % SIZE) for speed in (0.5, 1.3, 2.9)]
        parts = [layer[y : y + SIZE, x : x + SIZE] for layer, (x, y) in zip(layers, shifts, strict=True)]
        frames.append((sum(parts) >> 8).astype(np.uint8))
    return np.stack(frames)


def cut(rng: np.random.Generator) -> tuple[float, NDArray[np.float64]]:
    """Sample frame rate and times of a clip, as `ClipDecoder` does."""
    fps = max(rng.uniform(LOW, HIGH), (FRAMES - 1) / (SECONDS - 1 / FPS))
    start = rng.uniform(0, max(SECONDS - 1 / FPS - (FRAMES - 1) / fps, 0))
    return fps, start + np.arange(FRAMES) / fps


def read_all(data: bytes, seconds: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Decode the whole video with PyAV and take the frames, as most loaders do."""
    with av.open(io.BytesIO(data)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    return frames[np.rint(seconds * FPS).astype(int)]


def read_with_decord(data: bytes, seconds: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Decode the frames with decord, which seeks to key frames."""
    import decord

    video = decord.VideoReader(io.BytesIO(data), num_threads=1)
    frames: NDArray[np.uint8] = video.get_batch(np.rint(seconds * FPS).astype(int)).asnumpy()
    return frames


def read_with_torchcodec(data: bytes, seconds: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Decode the frames with torchcodec, which seeks to key frames."""
    from torchcodec.decoders import VideoDecoder

    video = VideoDecoder(data, dimension_order="NHWC", num_ffmpeg_threads=1)
    numbers = np.rint(seconds * FPS).astype(int).tolist()
    return np.asarray(video.get_frames_at(numbers).data)


def example(read: Read, rng: np.random.Generator, sample: dict[str, Any]) -> Example:
    """Cut a clip from a sample of webdataset."""
    fps, seconds = cut(rng)
    return Example(sample["__key__"], read(sample["mp4"], seconds), fps=fps)


def of_webdataset(read: Read, folder: Path, workers: int) -> Iterable[ClipBatch]:
    """Read shards with webdataset and another decoder."""
    shards = sorted(map(str, folder.glob("*.tar")))
    samples = webdataset.WebDataset(shards, shardshuffle=False, nodesplitter=None).repeat()
    clips = samples.map(functools.partial(example, read, np.random.default_rng(0)))
    collate = ClipDecoder(SIZE, FRAMES, UniformFps(LOW, HIGH)).collate
    return DataLoader(clips, BATCH, num_workers=workers, collate_fn=collate)


def of_this(folder: Path, workers: int) -> Iterable[ClipBatch]:
    """Read shards with this project's reader."""
    loader = ClipData(folder, SIZE, FRAMES, UniformFps(LOW, HIGH), BATCH, workers=workers).train_dataloader()
    while True:
        yield from loader


def measure(batches: Callable[[], Iterable[ClipBatch]], clips: int) -> Cell:
    """Read clips; the processor time and memory are those of the workers too."""
    begun, done = time.perf_counter(), 0
    for batch in batches():
        done += len(batch.pixels)
        if done >= clips:
            break
    wall = time.perf_counter() - begun
    del batch, batches
    own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    processor = sum(one.ru_utime + one.ru_stime for one in (own, others))
    return Cell(done, wall, processor, others.ru_maxrss / 1024)


def import_problem(name: str) -> str | None:
    """Return why a library cannot be imported, or None: torchcodec is often installed without FFmpeg's libraries."""
    try:
        importlib.import_module(name)
    except Exception as error:
        return " ".join(str(error).split())[:200]
    return None


def alone(call: Callable[[], T]) -> T:
    """Call in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        return pool.submit(call).result()


def main(
    clips: Annotated[int, typer.Option(help="Clips per cell.")] = 48,
    gop: Annotated[list[int] | None, typer.Option(help="Key frame intervals; default 12, 30 and 250.")] = None,
    workers: Annotated[list[int] | None, typer.Option(help="Numbers of workers; default 1 and 2.")] = None,
) -> None:
    """Print the table as Markdown."""
    torch.set_num_threads(1)
    others = {"decord": read_with_decord, "torchcodec": read_with_torchcodec}
    readers: dict[str, Callable[[Path, int], Iterable[ClipBatch]]] = {"this": of_this}
    readers["webdataset, PyAV"] = functools.partial(of_webdataset, read_all)
    for name, read in others.items():
        if problem := alone(functools.partial(import_problem, name)):
            typer.echo(f"{name} is left out: {problem}", err=True)
        else:
            readers[f"webdataset, {name}"] = functools.partial(of_webdataset, read)
    print(f"torch {torch.__version__}, av {av.__version__}, {clips} clips per cell\n")
    print("| key frame every | workers | reader | clips/s | clips per processor second | MiB per worker |")
    print("|---|---|---|---|---|---|")
    films = [film(seed) for seed in range(VIDEOS)]
    with tempfile.TemporaryDirectory() as root:
        for interval in gop or [12, 30, 250]:
            folder = Path(root) / str(interval) / "clips" / "train"
            videos = (encode_mp4(frames, FPS, crf=23, gop=interval) for frames in films)
            write_shards(folder, ({"mp4": video} for video in videos for _ in range(BATCH)), BATCH)
            build_index(folder)
            for count in workers or [1, 2]:
                for name, batches in readers.items():
                    place = folder.parent.parent if name == "this" else folder
                    cell = alone(functools.partial(measure, functools.partial(batches, place, count), clips))
                    rates = f"{cell.clips / cell.wall:.1f} | {cell.clips / cell.processor:.1f} | {cell.memory:.0f}"
                    print(f"| {interval} | {count} | {name} | {rates} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
