"""How every measure responds to what is done to real clips, where better and worse are known.

    python benchmarks/responses.py UCF-101 > responses.md

Source videos are dealt to two halves. The first, as filmed, is the real side of every row; the second, as filmed or
altered, is taken for generated. Clips are 16 consecutive frames, two of every video, none of which overlap. The
`shapes-*` networks are given squares of 64 pixels. Beside them stands an I3D at 112 pixels that was never trained: its
batch normalization is set once by 32 real clips, so that its activations neither die nor grow, and its logits are
scaled to unit deviation over these.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: the clips are read by threads of their own

import io
import json
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from torch import nn

from evaluation.clip_sources import Frames
from evaluation.cuts import Cut, Window, read_cut, source_info
from evaluation.evaluator import evaluate
from evaluation.extraction import versions
from evaluation.extractors.i3d_network import I3DNetwork
from evaluation.extractors.shipped_weights import read_card
from evaluation.folders import open_clips
from evaluation.protocol import Protocol, parse_protocol
from evaluation.resize import resizer
from mav_lightning.common.video_encoding import encode_mp4, write_lossless

FRAMES, READ = 16, 32  # of a clip; of a video, so that twice the speed has enough
CUTS = 2  # of each video, and as many between them, for the row that has the same videos on both sides
SMALL, I3D_SIZE = 64, 112  # pixels
CALIBRATION = 32  # clips; of 8, a few others had norms eight times the usual, and the kernel takes the sixth power
WEIGHTS = "random-i3d.pt"
DISTANCES = ("shapes-fvd", "shapes-fvd-inf", "shapes-kvd", "shapes-fid", "random-i3d-fvd", "random-i3d-kvd")
SHAPES = {"video": "shapes-video", "image": "shapes-image"}
ORIGINALS = ("shapes-consistency", "shapes-subject", "psnr", "ssim")
MOTION = ("moving-displacement", "warped-flicker", "compared-share", "temporal-consistency", "freeze-share")

Alter = Callable[[Frames, np.random.Generator], Frames]  # READ frames as filmed → FRAMES frames
Group = list[list[Cut]]  # the videos of a source, each by its cuts


@dataclass(frozen=True)
class Row:
    """A line of the tables.

    Attributes:
        name: Name of the line.
        alter: What is done to every clip.
        crf: Of H.264; None stores clips without loss.
        between: Takes other cuts of the real side's own videos.
        made: One of so many source videos counts on the generated side.
        real: The same of the real side.
    """

    name: str
    alter: Alter = lambda frames, rng: frames[:FRAMES]
    crf: int | None = None
    between: bool = False
    made: int = 1
    real: int = 1


def small(kind: Image.Resampling) -> Alter:
    """To a height of 64 pixels by this rule, and back by bilinear interpolation."""

    def alter(frames: Frames, rng: np.random.Generator) -> Frames:
        height, width = frames.shape[1:3]
        shrunk = [Image.fromarray(one).resize((SMALL * width // height, SMALL), kind) for one in frames[:FRAMES]]
        return np.stack([np.asarray(one.resize((width, height), Image.Resampling.BILINEAR)) for one in shrunk])

    return alter


def center(frames: Frames, rng: np.random.Generator) -> Frames:
    """The largest centered square."""
    height, width = frames.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return frames[:FRAMES, top : top + side, left : left + side]


ROWS = (
    Row("as filmed"),
    Row("half of its videos", made=2),
    Row("half of the videos on both sides", made=2, real=2),
    Row("other cuts of the real side's videos", between=True),
    Row("H.264, crf 18", crf=18),
    Row("H.264, crf 28", crf=28),
    Row("H.264, crf 38", crf=38),
    Row("every second frame", lambda frames, rng: frames[::2][:FRAMES]),
    Row("every frame twice", lambda frames, rng: frames[: FRAMES // 2].repeat(2, axis=0)),
    Row("shuffled", lambda frames, rng: frames[:FRAMES][rng.permutation(FRAMES)]),
    Row("first frame, frozen", lambda frames, rng: frames[:1].repeat(FRAMES, axis=0)),
    Row("64 pixels by area, and back", small(Image.Resampling.BOX)),
    Row("64 pixels by nearest, and back", small(Image.Resampling.NEAREST)),
    Row("center square", center),
)


def group_of(name: str) -> str:
    """The source video that UCF-101 cut a clip from; of other files, the file."""
    found = re.search(r"v_(\w+)_g(\d+)_c\d+", name)
    return f"{found[1]}_g{found[2]}" if found else name


def halves(folder: Path) -> tuple[list[Group], list[Group]]:
    """Every second group to either half, ordered by name; each with its videos' cuts in order of time."""
    shortest, groups = READ + (2 * CUTS - 1) * FRAMES, dict[str, Group]()
    for source in open_clips(folder):
        info = source_info(source)
        if info.frames < shortest:
            continue
        own = replace(source, group=group_of(source.id))
        starts = np.linspace(0, info.frames - READ, 2 * CUTS).astype(int)
        cuts = [Window(READ).cut(source.id, own, info.fps, int(start)) for start in starts]
        groups.setdefault(own.group, []).append(cuts)
    ordered = [groups[name] for name in sorted(groups)]
    return ordered[::2], ordered[1::2]


def taken(groups: Sequence[Group], one_of: int = 1, between: bool = False) -> list[Cut]:
    """Cuts of one of so many groups: of every video those that count, or those between them."""
    return [cut for videos in groups[::one_of] for cuts in videos for cut in cuts[between::2]]


def write_clips(folder: Path, cuts: Sequence[Cut], row: Row) -> Path:
    """The altered clips as a shard, whose json says the group of each."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "clips.tar", "w") as shard, tempfile.TemporaryDirectory() as scratch:
        for number, cut in enumerate(cuts):
            pixels = read_cut(cut, ()).pixels
            height, width = (side // 2 * 2 for side in pixels.shape[1:3])  # even, as H.264 needs
            frames = row.alter(pixels[:, :height, :width], np.random.default_rng(number))
            if row.crf is None:
                write_lossless(Path(scratch, "clip.mkv"), frames, cut.fps)
                kind, video = "mkv", Path(scratch, "clip.mkv").read_bytes()
            else:
                kind, video = "mp4", encode_mp4(frames, cut.fps, row.crf)
            told = json.dumps({"group": cut.source.group}).encode()
            for suffix, data in ((kind, video), ("json", told)):
                member = tarfile.TarInfo(f"{number:05d}.{suffix}")
                member.size = len(data)
                shard.addfile(member, io.BytesIO(data))
    return folder


def write_random_i3d(path: Path, cuts: Sequence[Cut], seed: int = 0) -> None:
    """An untrained I3D, normalized by some clips of its own."""
    torch.manual_seed(seed)
    network, resize = I3DNetwork(), resizer("torch-bilinear", I3D_SIZE)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm3d):
            layer.momentum = None  # one pass sets the statistics to those of the batch
    chosen = cuts[:: max(len(cuts) // CALIBRATION, 1)][:CALIBRATION]
    clips = torch.stack([resize(read_cut(cut, ()).pixels[:FRAMES]) for cut in chosen])
    with torch.no_grad():
        network.train()(2 * clips.transpose(1, 2) / 255 - 1)
        logits, last = network.eval()(2 * clips.transpose(1, 2) / 255 - 1), network.logits.conv3d
        scale = 1 / logits.std(dim=0).mean()
        last.weight.mul_(scale)
        last.bias.sub_(logits.mean(dim=0)).mul_(scale)
    torch.save(network.state_dict(), path)


def protocols(i3d: bool) -> Iterator[Protocol]:
    """Of squares of 64 pixels, and of frames as they are stored."""
    every = {"clips": None, "start": "first"}
    shared: dict[str, Any] = {
        "frames": FRAMES,
        "fps": None,
        "stride": 1,
        "resize": [],
        "seed": 0,
        "batch": 8,
        "generated": every,
    }
    shared["real"] = every | {"split": "val", "choice": "shuffled", "repeat": False, "fewer": False}
    shapes = {name: {"kind": kind, "sha256": read_card(kind).sha256} for name, kind in SHAPES.items()}
    distances = {
        "shapes-fvd": {"kind": "frechet", "of": "video", "divisor": "n-1"},
        "shapes-kvd": {"kind": "kernel", "of": "video"},
        "shapes-fid": {"kind": "frechet", "of": "image", "divisor": "n-1"},
    }
    squares = [{"rule": "box", "size": SMALL}]
    yield _protocol("responses-64", shared | {"resize": squares, "extractors": shapes, "metrics": distances})
    native: dict[str, Any] = {"motion": {"kind": "motion"}}
    measures: dict[str, Any] = {"motion": {"kind": "motion", "of": "motion"}}
    if i3d:
        native["i3d"] = {"kind": "i3d", "weights": WEIGHTS, "resize": "torch-bilinear", "size": I3D_SIZE}
        measures["random-i3d-fvd"] = {"kind": "frechet", "of": "i3d", "divisor": "n-1"}
        measures["random-i3d-kvd"] = {"kind": "kernel", "of": "i3d"}
    yield _protocol("responses-stored", shared | {"extractors": native, "metrics": measures})


def _protocol(name: str, values: dict[str, Any]) -> Protocol:
    return parse_protocol(name, values)


def cell(score: dict[str, Any]) -> str:
    """Value and interval."""
    bounds = "–".join(f"{bound:.3g}" for bound in score["interval"] or ())
    return "–" if score["value"] is None else f"{score['value']:.3g}" + (f" ({bounds})" if bounds else "")


def line(name: str, n: dict[str, int], metrics: dict[str, Any], columns: Sequence[str]) -> str:
    """Of a table."""
    cells = [f"{n['generated']} / {n['real']}", *(cell(metrics[column]) for column in columns)]
    return f"| {name} | {' | '.join(cells)} |"


def head(columns: Sequence[str]) -> str:
    """Of a table."""
    return f"\n| | n | {' | '.join(columns)} |\n|{'---|' * (2 + len(columns))}"


def run(folder: Path, work: Path, i3d: bool) -> Iterator[str]:
    """The lines of the report, as they come."""
    (first, second), judges = halves(folder), list(protocols(i3d))
    known = [f"{name} {versions()[name]}" for name in ("torch", "numpy", "av", "opencv-python-headless")]
    named = [f"{protocol.name} {protocol.hash}" for protocol in judges]
    yield f"{len(first)} and {len(second)} source videos; {', '.join(known + named)}"
    if i3d:
        write_random_i3d(work / WEIGHTS, taken(first))
    reals = {of: write_clips(work / f"real-{of}", taken(first, of), ROWS[0]) for of in {row.real for row in ROWS}}
    columns = [name for name in DISTANCES if i3d or not name.startswith("random")]
    yield head(columns)
    motion = [head(MOTION)]
    for number, row in enumerate(ROWS):
        made = taken(first if row.between else second, row.made, row.between)
        sides, kept = (write_clips(work / f"{number:02d}", made, row), reals[row.real]), work / "features"
        found = [evaluate(*sides, protocol, force=True, features=kept, weights=work) for protocol in judges]
        metrics, n = found[0]["metrics"] | found[1]["metrics"], found[0]["n"]
        yield line(row.name, n, metrics, columns)
        motion.append(line(row.name, n, metrics, MOTION))
        if row is ROWS[0]:
            curves = found[0]["curves"] | found[1]["curves"]
    yield from motion
    yield "\nAs filmed, at fewer clips, means over subsets:\n"
    for name, points in curves.items():
        yield f"- {name}: " + ", ".join(f"{point['value']:.3g} at n = {point['n']}" for point in points)


def originals_protocol() -> Protocol:
    """Of squares of 64 pixels: consistency of frames, and distance from the clip as filmed."""
    every = {"clips": None, "start": "first"}
    image = {"kind": "shapes-image", "sha256": read_card("shapes-image").sha256}
    values: dict[str, Any] = {
        "frames": FRAMES,
        "fps": None,
        "stride": 1,
        "resize": [{"rule": "box", "size": SMALL}],
        "seed": 0,
        "batch": 8,
        "generated": every,
        "real": every | {"split": "val", "choice": "first", "repeat": False, "fewer": False},
        "extractors": {"image": image, "frames": {"kind": "frames"}},
        "metrics": {
            "shapes-consistency": {"kind": "frame-consistency", "of": "image"},
            "shapes-subject": {"kind": "frame-consistency", "of": "image", "against": "first-and-previous"},
            "psnr": {"kind": "psnr", "of": "frames"},
            "ssim": {"kind": "ssim", "of": "frames"},
        },
    }
    return _protocol("responses-originals", values)


def run_originals(folder: Path, work: Path, one_of: int) -> Iterator[str]:
    """The lines of the table in which the real side is what was altered."""
    cuts, protocol = taken(halves(folder)[1])[::one_of], originals_protocol()
    yield f"{len(cuts)} clips; {protocol.name} {protocol.hash}"
    real = write_clips(work / "originals", cuts, ROWS[0])
    yield head(ORIGINALS)
    for number, row in enumerate(ROWS):
        if row.between or row.made > 1 or row.real > 1:
            continue
        made = write_clips(work / f"altered-{number:02d}", cuts, row)
        found = evaluate(made, real, protocol, force=True, features=work / "features")
        yield line(row.name, found["n"], found["metrics"], ORIGINALS)


def main(
    folder: Annotated[Path, typer.Argument(help="Of real videos, 80 frames or longer; shorter ones are left out.")],
    i3d: Annotated[bool, typer.Option(help="Also through an untrained I3D: half a second a clip and core.")] = True,
    originals: Annotated[
        int, typer.Option(help="Only compare altered clips with their originals: one of so many clips; 0 for the rest.")
    ] = 0,
    work: Annotated[Path | None, typer.Option(help="Keeps the altered clips and all features here.")] = None,
) -> None:
    """Print the tables as Markdown."""
    with ExitStack() as stack:
        kept = work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kept.mkdir(parents=True, exist_ok=True)
        lines = run_originals(folder, kept, originals) if originals else run(folder, kept, i3d)
        for text in lines:
            print(text, flush=True)


if __name__ == "__main__":
    typer.run(main)
