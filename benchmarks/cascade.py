"""What the stages after the decoder gain, against baselines that need no network, where truth is known.

    python benchmarks/cascade.py runs/tiny/pipeline --clips 32 > cascade.md

Interpolation fills the frames between every fourth of real clips; super-resolution starts from downsampled real clips;
flicker and outlines of clips made from text are measured after every stage. Rows are means over clips with 95 %
Student intervals.
"""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from evaluation.extractors.object_outlines import outline_overlap
from evaluation.ground_truth.flicker import flicker
from evaluation.ground_truth.ghosting import ghosting, object_area
from evaluation.ground_truth.object_tracking import track
from evaluation.intervals import mean
from mav_lightning.cascade.clip_check import ClipWarning
from mav_lightning.cascade.video_pipeline import Pipeline
from mav_lightning.common.shapes_world.laws import LAW_OF_SHAPE, sample_motion
from mav_lightning.common.shapes_world.scene import SHAPES, Scene, render_motion
from mav_lightning.prompts import shapes_prompts

Clips = NDArray[np.uint8]


def real_clips(count: int, frames: int, fps: float, size: int, seed: int = 0) -> Clips:
    """Clips of Shapes World, every pair of color and shape in turn, as they are before any codec."""
    rng = np.random.default_rng(seed)
    scenes = [Scene(**prompt.attributes) for prompt in shapes_prompts(-(-count // 24))][:count]
    motions = [sample_motion(LAW_OF_SHAPE[scene.shape], rng) for scene in scenes]
    times = np.arange(frames) / fps
    return np.stack([render_motion(scene, motion, times, size) for scene, motion in zip(scenes, motions, strict=True)])


def rms(clips: Clips, truth: Clips) -> NDArray[np.float64]:
    """Root mean square error of each clip, in gray levels."""
    return np.sqrt(np.square(clips.astype(np.float64) - truth).mean(axis=(1, 2, 3, 4)))


def flickers(clips: Clips, fps: float) -> NDArray[np.float64]:
    """Flicker of each clip."""
    return np.array([flicker(clip, centers, fps) for clip, centers in zip(clips, track(clips), strict=True)])


def outlines(clips: Clips) -> list[NDArray[np.float64]]:
    """Overlap of each clip's outlines with the right shape, and percent of frames that overlap it most."""
    overlap = np.stack([outline_overlap(clip) for clip in clips])
    own = np.array([SHAPES.index(prompt.attributes["shape"]) for prompt in shapes_prompts(-(-len(clips) // 24))])
    right = overlap[np.arange(len(clips)), :, own[: len(clips)]]
    return [right.mean(axis=1), 100 * (right == overlap.max(axis=2)).mean(axis=1)]


def cell(values: NDArray[np.float64]) -> str:
    """Mean and interval."""
    low, high = mean(values) or (float("nan"), float("nan"))
    return f"{values.mean():.2f} ({low:.2f}–{high:.2f})"


def table(header: str, rows: dict[str, list[NDArray[np.float64]]]) -> Iterator[str]:
    """A Markdown table."""
    yield header
    yield "|" + "---|" * (header.count("|") - 1)
    for name, columns in rows.items():
        yield f"| {name} | " + " | ".join(cell(column) for column in columns) + " |"


def with_settings(pipeline: Pipeline, **settings: object) -> Pipeline:
    """The same networks, sampled otherwise."""
    sampling = replace(pipeline.sampling, **settings)  # type: ignore[arg-type]
    return Pipeline(pipeline.cascade, sampling)


def interpolation(pipeline: Pipeline, count: int, fps: float) -> dict[str, list[NDArray[np.float64]]]:
    """Error of the unknown frames, ghosts and flicker, of each way to fill."""
    skip, frames = pipeline.sampling.skip, pipeline.sampling.frames
    rate = fps * skip
    truth = real_clips(count, (frames - 1) * skip + 1, rate, pipeline.sampling.size)
    known = np.arange(truth.shape[1]) % skip == 0
    rows = {"truth": truth}
    for name in ("network", "linear", "repeat"):
        way = with_settings(pipeline, interpolation=name)
        rows[name] = way.interpolate(truth[:, known], rate, range(count), until="interpolator")
        assert np.array_equal(rows[name][:, known], truth[:, known]), "known frames must come out unchanged"
    return {
        name: [
            rms(clips[:, ~known], truth[:, ~known]),
            100 * ghosting(object_area(clips), known),
            flickers(clips, rate),
        ]
        for name, clips in rows.items()
    }


def super_resolution(pipeline: Pipeline, count: int, fps: float) -> dict[str, list[NDArray[np.float64]]]:
    """Error, flicker and outlines of real clips after super-resolution."""
    factor = pipeline.sampling.low_factor * pipeline.sampling.high_factor
    frames, size = pipeline.sampling.frames, pipeline.sampling.size * factor
    truth = real_clips(count, frames, fps, size)
    small = truth.reshape(*truth.shape[:2], size // factor, factor, size // factor, factor, 3).mean(axis=(3, 5))
    small = small.round().astype(np.uint8)
    nearest = small.repeat(factor, axis=2).repeat(factor, axis=3)
    rows = {"truth": truth, "every pixel repeated": nearest}
    for name, shared in (("the same noise in every frame", True), ("independent noise", False)):
        rows[name] = with_settings(pipeline, shared_noise=shared).super_resolve(small, fps, range(count))
    return {name: [rms(clips, truth), flickers(clips, fps), *outlines(clips)] for name, clips in rows.items()}


def from_text(pipeline: Pipeline, count: int, fps: float) -> dict[str, list[NDArray[np.float64]]]:
    """Flicker and outlines after every stage, each fed with what the one before made."""
    prompts, seeds = [prompt.text for prompt in shapes_prompts(-(-count // 24))][:count], range(count)
    rate = fps * pipeline.rate
    decoded = pipeline(prompts, fps, seeds, until="decoder")
    filled = pipeline.interpolate(decoded, rate, seeds, until="interpolator")
    blended = with_settings(pipeline, interpolation="linear")
    clips = {
        "decoder": decoded,
        "interpolation": filled,
        "interpolation by blending": blended.interpolate(decoded, rate, seeds, until="interpolator"),
        "spatiotemporal super-resolution": with_settings(pipeline, high_factor=1).super_resolve(filled, rate, seeds),
        "spatial super-resolution, the same noise": pipeline.super_resolve(filled, rate, seeds),
        "spatial super-resolution, independent noise": with_settings(pipeline, shared_noise=False).super_resolve(
            filled, rate, seeds
        ),
    }
    return {
        name: [flickers(of_stage, fps if name == "decoder" else rate), *outlines(of_stage)]
        for name, of_stage in clips.items()
    }


def main(
    pipeline: Annotated[Path, typer.Argument(help="Folder of a whole cascade.")],
    clips: Annotated[int, typer.Option(help="Clips in every row.")] = 32,
    fps: Annotated[float, typer.Option(help="Frames per second before interpolation.")] = 8.0,
) -> None:
    """Print the tables as Markdown."""
    warnings.simplefilter("ignore", ClipWarning)  # of jumps; the rows are to be compared as they are
    loaded = Pipeline.from_pretrained(pipeline)
    print(f"{clips} clips a row, {fps:g} fps before interpolation; gray levels; 95 % intervals of the mean.")
    shapes = "flicker | outline | right shape, % |"
    for header, rows in (
        ("| interpolation of real clips | error | ghosts, % | flicker |", interpolation(loaded, clips, fps)),
        (f"| super-resolution of real clips | error | {shapes}", super_resolution(loaded, clips, fps)),
        (f"| clips from text, after | {shapes}", from_text(loaded, clips, fps)),
    ):
        print("\n".join(["", *table(header, rows)]))


if __name__ == "__main__":
    typer.run(main)
