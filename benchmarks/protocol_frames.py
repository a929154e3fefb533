"""What reaches the networks under the published protocols, beside the procedures that they are named after.

    python benchmarks/protocol_frames.py CLIPS > frames.md

Every procedure is typed anew here from its code or its description, from the file of a video to the frames that a
network is given before it subtracts a mean, and shares nothing with this project: it decodes with PyAV, and resizes
with torch or Pillow. A row has the largest and the mean difference from what the protocol gives the network, in gray
levels of 255, and which videos, and which runs of 16 frames of them, either takes for real ones. Where a procedure
draws starts without a seed, a row counts those that it could have drawn.
"""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import av
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from evaluation import Protocol, load_protocol
from evaluation.clip_selection import plan_real
from evaluation.cuts import Cut, read_cut
from evaluation.folders import open_clips
from evaluation.resize import resizer

Pixels = NDArray[np.uint8]  # (T, H, W, 3)
Seen = NDArray[np.float32]  # (T, h, w, 3), in [0, 255]
Runs = set[tuple[str, int]]  # videos by name, and where in them clips begin
T, FIRST = 16, 20  # frames of a clip; videos that "the first" takes here


@dataclass(frozen=True)
class Procedure:
    """Procedure of the original implementation of a protocol.

    Attributes:
        frames: Maps the frames of a clip to the input of the network.
        takes: Maps the lengths of the videos to the clips that may be selected.
        every: If True, all of them are selected. If False, one per video, at a random start without a seed.
        clips: Number of real clips to compare. None for the protocol's number.
        kept: Selects the clips that both procedures receive, for a rule that is defined for square frames only.
        extractor: Name of the extractor in the protocol whose input is compared.
    """

    frames: Callable[[Pixels], Seen]
    takes: Callable[[dict[str, int]], Runs]
    every: bool = True
    clips: int | None = None
    kept: Callable[[Pixels], Pixels] = lambda frames: frames
    extractor: int = 0


def decoded(file: Path) -> Pixels:
    """All frames, as PyAV gives them."""
    with av.open(str(file)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def bilinear(frames: NDArray[Any], height: int, width: int, antialias: bool = False) -> Seen:
    """Torch's, of floats."""
    x = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float()
    x = F.interpolate(x, size=(height, width), mode="bilinear", align_corners=False, antialias=antialias)
    return x.permute(0, 2, 3, 1).numpy()


def loaded(frames: Pixels, size: int, antialias: bool) -> Pixels:
    """The loader of TATS, and of cd-fvd after it: short side, center, and (x * 255).byte()."""
    h, w = frames.shape[1:3]
    scale = size / min(h, w)
    target = (size, math.ceil(w * scale)) if h < w else (math.ceil(h * scale), size)
    video = bilinear(frames.astype(np.float32) / np.float32(255), *target, antialias=antialias)
    top, left = (target[0] - size) // 2, (target[1] - size) // 2
    video = video[:, top : top + size, left : left + size]
    if not antialias:  # TATS hands videos around in [-0.5, 0.5]
        video = (video - np.float32(0.5)) + np.float32(0.5)
    return (video * np.float32(255)).astype(np.uint8)


def tats(frames: Pixels) -> Seen:
    """Its loader at 128, then its I3D's own 224."""
    return bilinear(loaded(frames, 128, antialias=False), 224, 224)


def cdfvd(frames: Pixels) -> Seen:
    """Its loader at 256, then 224; this one in [0, 1]."""
    return bilinear(loaded(frames, 256, antialias=True).astype(np.float32) / 255, 224, 224) * 255


def as_stored(frames: Pixels) -> Seen:
    """The network resizes."""
    return frames.astype(np.float32)


def tensorflow(frames: Pixels) -> Seen:
    """tf.image.resize_bilinear of TensorFlow 1: pixel i of 224 is read at i * side / 224."""
    x = frames.astype(np.float64)
    for axis in (1, 2):
        places = np.arange(224, dtype=np.float32) * (np.float32(x.shape[axis]) / np.float32(224))
        low = places.astype(int)
        share = (places - low).reshape([-1 if own == axis else 1 for own in range(4)])
        high = np.minimum(low + 1, x.shape[axis] - 1)
        x = np.take(x, low, axis) * (1 - share) + np.take(x, high, axis) * share
    return x.astype(np.float32)


def clean_fid(frames: Pixels) -> Seen:
    """Pillow's bicubic filter, channel by channel in float, clipped."""
    resized = [
        [np.asarray(Image.fromarray(one[..., c].astype(np.float32)).resize((299, 299), Image.Resampling.BICUBIC))
         for c in range(3)]
        for one in frames
    ]  # fmt: skip
    return np.clip(np.array(resized).transpose(0, 2, 3, 1), 0, 255)


def openai_clip(frames: Pixels) -> Seen:
    """Its transform of an image: short side to 224 by Pillow's bicubic filter, center, bytes."""
    seen = []
    for one in map(Image.fromarray, frames):
        short = min(one.size)
        size = tuple(224 if side == short else int(224 * side / short) for side in one.size)
        one = one.resize(size, Image.Resampling.BICUBIC)
        left, top = (round((side - 224) / 2) for side in size)
        seen.append(np.asarray(one.crop((left, top, left + 224, top + 224))))
    return np.stack(seen).astype(np.float32)


def vbench_dino(frames: Pixels) -> Seen:
    """Torchvision's Resize of floats, of squares; others keep their aspect ratio."""
    return bilinear(frames, 224, 224)


def jepa(frames: Pixels) -> Seen:
    """JEDi takes clips as they are brought; its network's evaluation takes the short side and the center."""
    h, w = frames.shape[1:3]
    scale = 256 / min(h, w)
    target = (256, math.ceil(w * scale)) if h < w else (math.ceil(h * scale), 256)
    top, left = (target[0] - 256) // 2, (target[1] - 256) // 2
    return bilinear(frames, *target)[:, top : top + 256, left : left + 256]


def square(frames: Pixels) -> Pixels:
    """The center."""
    side = min(frames.shape[1:3])
    top, left = ((length - side) // 2 for length in frames.shape[1:3])
    return frames[:, top : top + side, left : left + side]


def all_runs(lengths: dict[str, int]) -> Runs:
    """Torchvision's VideoClips: every run of 16 frames."""
    return {(name, start) for name, length in lengths.items() for start in range(length - T + 1)}


def first_videos(lengths: dict[str, int]) -> Runs:
    """StyleGAN-V: folders sorted, those that are too short left out, the first; any start."""
    names = [name for name in sorted(lengths) if lengths[name] >= T][:FIRST]
    return all_runs({name: lengths[name] for name in names})


def central(lengths: dict[str, int]) -> Runs:
    """VideoPoet's appendix: the central 16 frames of each."""
    return {(name, (length - T) // 2) for name, length in lengths.items() if length >= T}


def nothing(lengths: dict[str, int]) -> Runs:
    """There is no real side."""
    return set()


PROCEDURES = {
    "fvd-styleganv-2048x16": Procedure(as_stored, first_videos, every=False, clips=FIRST),
    "fvd-tats-2048x16": Procedure(tats, all_runs, clips=-1),
    "fvd-ucf10k": Procedure(tensorflow, central),
    "fvd-ucf10k-frequencies": Procedure(tensorflow, central),
    "ucf10k-class-conditional": Procedure(tensorflow, central),
    "is-styleganv-2048": Procedure(as_stored, nothing),
    "is-ucf10k": Procedure(as_stored, nothing),
    "fid-clean": Procedure(clean_fid, all_runs, every=False),
    "fid-clean-msrvtt-59794": Procedure(clean_fid, all_runs, every=False),
    "clipsim-b32-msrvtt-2990": Procedure(openai_clip, nothing),
    "clipsim-b32-msrvtt-59794": Procedure(openai_clip, nothing),
    "clipfid-b32-msrvtt": Procedure(openai_clip, all_runs, every=False, clips=FIRST),
    "clipfid-b32-msrvtt-59794": Procedure(openai_clip, all_runs, every=False),
    "fvd-videomae-ssv2": Procedure(cdfvd, all_runs, every=False),
    "jedi-vjepa2-ssv2": Procedure(jepa, all_runs, every=False),
    "consistency": Procedure(vbench_dino, nothing, kept=square, extractor=1),
}  # fmt: skip


def given(protocol: Protocol, extractor: str) -> Callable[[Pixels], Seen]:
    """What a protocol's extractor gives its network, before a mean is subtracted."""
    settings: Any = protocol.extractors[extractor]
    if settings.kind == "clip":
        from transformers import CLIPImageProcessorPil

        process = CLIPImageProcessorPil(do_normalize=False, do_rescale=False)
        return lambda frames: np.stack(process(images=list(frames))["pixel_values"]).transpose(0, 2, 3, 1)
    if settings.resize is None:
        return as_stored
    resize = resizer(settings.resize, settings.size)
    return lambda frames: resize(frames).permute(0, 2, 3, 1).numpy()


def planned(protocol: Protocol, folder: Path, clips: int | None) -> list[Cut]:
    """The real clips of a protocol, or without a real side the first frames of each video."""
    real = protocol.real or load_protocol("reconstruction").real
    assert real
    return plan_real(open_clips(folder), protocol, replace(real, clips=clips or real.clips), [])


def name_of(cut: Cut) -> str:
    """Of a video, without folder and suffix."""
    return Path(cut.source.id).stem


def selection(protocol: Protocol, procedure: Procedure, cuts: list[Cut], lengths: dict[str, int]) -> str:
    """Which videos, and which starts."""
    if protocol.real is None:
        return "no real side"
    allowed, chosen = procedure.takes(lengths), {(name_of(cut), (cut.numbers or ())[0]) for cut in cuts}
    if procedure.every:
        return f"{len(chosen)} of {len(allowed)} clips, {'equal' if chosen == allowed else 'OTHERS'}"
    videos = {name for name, _ in allowed}
    right = {name for name, _ in chosen} == videos if procedure.clips is None or procedure.takes is first_videos else (
        {name for name, _ in chosen} <= videos
    )  # fmt: skip
    drawn = f"{len(chosen & allowed)} of {len(chosen)} starts possible"
    return f"{len(chosen)} videos, {'equal' if right else 'OTHERS'}; {drawn}"


def rows(folder: Path, one_of: int) -> Iterator[str]:
    """The lines of the table."""
    files = {Path(source.id).stem: source.path for source in open_clips(folder)}
    lengths = {name: len(decoded(file)) for name, file in files.items()}
    compared = sorted(files)[::one_of]
    yield f"{len(files)} videos, frames of {len(compared)}\n"
    yield "| protocol | largest | mean | real clips |\n|---|---|---|---|"
    for name, procedure in PROCEDURES.items():
        protocol = load_protocol(name)
        every = len(all_runs(lengths)) if procedure.clips == -1 else procedure.clips
        cuts = planned(protocol, folder, every)
        extractor, differences = list(protocol.extractors)[procedure.extractor], []
        of_video = {name_of(cut): cut for cut in cuts}
        for video in (video for video in compared if video in of_video):
            cut = of_video[video]
            numbers = list(cut.numbers or ())
            theirs = procedure.frames(procedure.kept(decoded(files[video])[numbers]))
            pixels = procedure.kept(read_cut(cut, ()).pixels) if protocol.resize == () else None
            ours = given(protocol, extractor)(read_cut(cut, protocol.resize).pixels if pixels is None else pixels)
            differences.append(np.abs(theirs.astype(np.float64) - ours))
        largest = max(float(one.max()) for one in differences)
        mean = float(np.mean([one.mean() for one in differences]))
        yield f"| `{name}` | {largest:.2g} | {mean:.2g} | {selection(protocol, procedure, cuts, lengths)} |"


def main(
    folder: Annotated[Path, typer.Argument(help="Of videos with names of their own.")],
    one_of: Annotated[int, typer.Option(help="Compare the frames of one of so many videos.")] = 1,
) -> None:
    """Print the table as Markdown."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    for line in rows(folder, one_of):
        print(line, flush=True)


if __name__ == "__main__":
    typer.run(main)
