"""All of an evaluation but the extractors' own compute, beside the common recipe, in one run on the same clips.

    python benchmarks/scoring.py

Three metrics: an FVD of 400 features a clip, an FID of 2,048 a frame, and a CLIPSIM. Their frames are resized as the
real networks need, and the networks are stand-ins that cost nearly nothing. The recipe is what separate tools do: each
metric decodes and resizes every clip by itself, FID with clean-fid's own resizer, and takes `scipy.linalg.sqrtm`. It
has no intervals, so ours are timed apart.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import scipy
import torch
import typer
from cleanfid.resize import make_resizer
from torch import Tensor
from torch.nn import functional as F

from evaluation import Evaluation, Protocol
from evaluation.clip_sources import Clip
from evaluation.extractors.base import Extractor, ExtractorSettings, LoadedExtractor, TextExtractor
from evaluation.extractors.i3d import I3D
from evaluation.extractors.i3d_network import I3DNetwork
from evaluation.extractors.motion_measures import MotionMeasures
from evaluation.extractors.shipped_weights import load_extractor
from evaluation.metrics.clipsim import ClipSimilarity, FrameTextSimilarity
from evaluation.metrics.frechet import Frechet, FrechetDistance
from evaluation.protocol import GeneratedClips, RealClips
from evaluation.resize import Resize, resizer
from mav_lightning.common.manifest import ClipRecord, write_manifest
from mav_lightning.common.shapes_world.laws import LAW_OF_SHAPE, sample_motion
from mav_lightning.common.shapes_world.scene import all_scenes, render
from mav_lightning.common.video_encoding import encode_mp4
from mav_lightning.media.media_reader import read_frames

BATCH = 16


class StandIn(TextExtractor):
    """Random features of an 8 x 8 grid of pixels: one row a clip or one a frame."""

    def __init__(self, resize: str, size: int, features: int, per_frame: bool) -> None:
        super().__init__()
        self.resize, self.per_frame = resizer(resize, size), per_frame
        self.mix = torch.randn(192, features, generator=torch.Generator().manual_seed(features)) / 10

    def prepare(self, clip: Clip) -> Tensor:
        """(T, 3, size, size)."""
        return self.resize(clip.pixels)

    def forward(self, prepared: Tensor) -> Tensor:
        """(N, T or 1, features)."""
        step = prepared.shape[-1] // 8
        grid = prepared[..., step // 2 :: step, step // 2 :: step][..., :8, :8].flatten(2)
        rows = torch.sin((grid / 32) @ self.mix)  # bent, or 192 colors would span all there is
        return rows if self.per_frame else rows.mean(dim=1, keepdim=True)

    def texts(self, captions: Sequence[str]) -> Tensor:
        """One direction for all."""
        return F.normalize(torch.ones(len(captions), self.mix.shape[1]), dim=-1)


@dataclass(frozen=True)
class StandInSettings(ExtractorSettings):
    """Settings of a stand-in."""

    resize: str
    size: int
    features: int
    per_frame: bool

    network = StandIn

    def load(self, weights: Path) -> LoadedExtractor:
        """There is nothing to load."""
        return LoadedExtractor(StandIn(self.resize, self.size, self.features, self.per_frame))


def kinds(shrink: int) -> dict[str, StandInSettings]:
    """What each metric sees."""
    return {
        "fvd": StandInSettings("torch-bilinear", 224, 400 // shrink, per_frame=False),
        "fid": StandInSettings("clean-bicubic", 299, 2048 // shrink, per_frame=True),
        "clipsim": StandInSettings("short-side-center-crop", 224, 512 // shrink, per_frame=True),
    }


def write_clips(folder: Path, count: int, frames: int, size: int, seed: int) -> None:
    """Shapes World on noisy ground, as mp4, with a manifest."""
    folder.mkdir()
    rng, records = np.random.default_rng(seed), []
    for number in range(count):
        scene = all_scenes()[rng.integers(72)]
        clip = render(scene, sample_motion(LAW_OF_SHAPE[scene.shape], rng).at(np.arange(frames) / 8), size)
        ground = rng.normal(0, 20, (1, size, size, 3)) + rng.normal(0, 10 + 3 * seed, 3)
        data = encode_mp4((clip + ground).clip(0, 255).astype(np.uint8), 8)
        (folder / f"{number:05}.mp4").write_bytes(data)
        records.append(ClipRecord(f"{number:05}", f"{number:05}.mp4", 8.0, "a shape"))
    write_manifest(folder, records)


def protocol(frames: int, extractors: dict[str, StandInSettings]) -> Protocol:
    """All three metrics."""
    metrics = {"fvd": Frechet("fvd", "n-1"), "fid": Frechet("fid", "n-1"), "clipsim": ClipSimilarity("clipsim")}
    return Protocol(
        name="scoring",
        frames=frames,
        fps=None,
        stride=1,
        resize=(),
        seed=0,
        batch=BATCH,
        generated=GeneratedClips(None, "first"),
        real=RealClips(None, "first", "val", "shuffled", repeat=False, fewer=False),
        extractors=extractors,
        metrics=metrics,
    )


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what came out."""
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def extracted(root: Path, known: Protocol) -> Evaluation:
    """Our features, of hashed clips."""
    evaluation = Evaluation(root / "generated", root / "real", known, features=root / "features")
    evaluation.extraction.run()
    return evaluation


def measured(evaluation: Evaluation) -> dict[str, float]:
    """Our values, without intervals."""
    values = {}
    for name in ("fvd", "fid"):
        metric = FrechetDistance(name)
        for side in ("generated", "real"):
            found = evaluation.features(name, side)  # type: ignore[arg-type]
            metric.update(torch.from_numpy(found.values), found.ids, real=side == "real")
        values[name] = float(metric.compute())
    found, similarity = evaluation.features("clipsim", "generated"), FrameTextSimilarity("clipsim")
    texts = torch.from_numpy(evaluation.texts("clipsim")["a shape"]).expand(len(found.ids), -1)
    similarity.update(torch.from_numpy(found.values), texts, found.ids)
    return values | {"clipsim": float(similarity.compute())}


def ours(root: Path, known: Protocol) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds by stage, and values."""
    features, evaluation = timed(lambda: extracted(root, known))
    distances, values = timed(lambda: measured(evaluation))
    again, _ = timed(evaluation.results)
    return {"features": features, "distances": distances, "intervals and curves": again - distances}, values


def recipe_features(folder: Path, kind: StandInSettings) -> Tensor:
    """Decodes and resizes every clip for one metric."""
    network, files, rows = kind.load(folder).extractor, sorted(folder.glob("*.mp4")), []
    resize = clean_fid(kind.size) if kind.resize == "clean-bicubic" else resizer(kind.resize, kind.size)
    with torch.inference_mode():
        for start in range(0, len(files), BATCH):
            clips = [read_frames(file) for file in files[start : start + BATCH]]
            rows.append(network(torch.stack([resize(clip) for clip in clips])))
    return torch.cat(rows)


def clean_fid(size: int) -> Resize:
    """Its own resizer, frame by frame as it takes them."""
    resize = make_resizer("PIL", False, "bicubic", (size, size))
    return lambda frames: torch.stack([torch.from_numpy(resize(frame).transpose(2, 0, 1)) for frame in frames])


def recipe_distance(a: Tensor, b: Tensor) -> float:
    """By the root, as scipy takes it, of the product of both covariances."""
    x, y = (side.flatten(0, 1).double().numpy() for side in (a, b))
    left, right = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(left @ right)
    return float(np.square(x.mean(0) - y.mean(0)).sum() + np.trace(left + right - 2 * root).real)


def recipe(root: Path, extractors: dict[str, StandInSettings]) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds and values of separate tools."""
    seconds, values = {"features": 0.0, "distances": 0.0}, {}
    for name in ("fvd", "fid"):
        kind = extractors[name]
        spent, sides = timed(lambda kind=kind: [recipe_features(root / side, kind) for side in ("generated", "real")])
        seconds["features"] += spent
        spent, values[name] = timed(lambda sides=sides: recipe_distance(*sides))
        seconds["distances"] += spent
    spent, frames = timed(lambda: recipe_features(root / "generated", extractors["clipsim"]))
    seconds["features"] += spent
    values["clipsim"] = float(F.normalize(frames.double(), dim=-1).mean(dim=-1).mean() * frames.shape[-1] ** 0.5)
    return seconds, values


def own_costs(frames: int, size: int, clips: int) -> dict[str, float]:
    """Clips a second of the real extractors, preparation included, alone."""
    pixels = np.random.default_rng(0).integers(0, 256, (frames, size, size, 3)).astype(np.uint8)
    clip = Clip("a", pixels, 8.0, None, {}, "a")
    extractors: dict[str, Extractor] = {
        "I3D, native, 224 pixels": I3D(I3DNetwork().eval(), resizer("torch-bilinear", 224)),
        **{name: load_extractor(name) for name in ("shapes-image", "shapes-video", "shapes-clip")},
        "motion (optical flow)": MotionMeasures(),
    }
    rates = {}
    for name, extractor in extractors.items():
        with torch.inference_mode():
            seconds, _ = timed(lambda e=extractor: e(torch.stack([e.prepare(clip) for _ in range(clips)])))
        rates[name] = clips / seconds
    return rates


def main(
    clips: Annotated[int, typer.Option(help="On either side.")] = 2048,
    frames: Annotated[int, typer.Option(help="Of a clip.")] = 16,
    size: Annotated[int, typer.Option(help="Of a frame, in pixels.")] = 64,
    shrink: Annotated[int, typer.Option(help="Divide the numbers of features by this, to try it on few clips.")] = 1,
    extractors: Annotated[bool, typer.Option(help="Also time the real extractors alone.")] = True,
) -> None:
    """Print both tables as Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        root, stand_ins = Path(folder), kinds(shrink)
        for seed, side in enumerate(("generated", "real")):
            write_clips(root / side, clips, frames, size, seed)
        (mine, values), (theirs, wanted) = ours(root, protocol(frames, stand_ins)), recipe(root, stand_ins)
    threads = torch.get_num_threads()
    print(f"{clips} + {clips} clips of {frames} x {size} x {size}; torch {torch.__version__}, {threads} threads\n")
    print("| | ours, s | recipe, s | ratio |\n|---|---|---|---|")
    for stage in ("features", "distances"):
        print(f"| {stage} | {mine[stage]:.1f} | {theirs[stage]:.1f} | {theirs[stage] / mine[stage]:.1f} |")
    total, whole, other = mine["features"] + mine["distances"], sum(mine.values()), sum(theirs.values())
    print(f"| both | {total:.1f} | {other:.1f} | {other / total:.1f} |")
    print(f"| with intervals and curves | {whole:.1f} | – | {other / whole:.1f} |")
    off = max(abs(values[name] / wanted[name] - 1) for name in values)
    print(f"\nLargest relative difference of a value: {off:.0e}")
    if extractors:
        print("\n| extractor alone | clips/s |\n|---|---|")
        for name, rate in own_costs(frames, size, clips=4).items():
            print(f"| {name} | {rate:.2g} |")


if __name__ == "__main__":
    typer.run(main)
