"""Clips as files: what a pipeline is asked for, written with where it came from."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mav_lightning.cascade.files import write_clip
from mav_lightning.cascade.mark import draw_mark, provenance
from mav_lightning.cascade.pipeline import Pipeline, write_pipeline
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.common.manifest import ClipRecord, write_manifest
from mav_lightning.prompts import Prompt, shapes_prompts

__all__ = ["clip_records", "sample_clips", "sample_shapes", "write_clips"]


def sample_clips(
    pipeline: Pipeline, out: Path, prompts: Sequence[Prompt], fps: Sequence[float], seeds: Sequence[int]
) -> Iterator[int]:
    """Writes one lossless file for each prompt, unmarked, then the manifest; yields the number of clips so far.

    Args:
        pipeline: The networks.
        out: Folder, made if missing.
        prompts: N prompts.
        fps: N frame rates.
        seeds: N seeds.
    """
    records = clip_records(pipeline, [float(rate) * pipeline.rate for rate in fps], seeds, prompts)
    return write_clips(out, pipeline.batches([prompt.text for prompt in prompts], fps, seeds), records, mark=False)


def clip_records(
    pipeline: Pipeline,
    fps: Sequence[float],
    seeds: Sequence[int],
    prompts: Sequence[Prompt] | None = None,
    suffix: str = ".mkv",
    source: str | None = None,
) -> list[ClipRecord]:
    """What a manifest says of clips that are about to be drawn, numbered from 0.

    Args:
        pipeline: Draws them.
        fps: N frame rates of the files.
        seeds: N seeds.
        prompts: N prompts; None for clips made without text.
        suffix: Of the files.
        source: What the clips are made from; None for text.
    """
    return [
        ClipRecord(
            id=f"{number:05d}",
            file=f"{number:05d}{suffix}",
            fps=rate,
            prompt=prompts[number].text if prompts else None,
            attributes=prompts[number].attributes if prompts else {},
            seed=seed,
            checkpoints=pipeline.checkpoints,
            source=source,
        )
        for number, (rate, seed) in enumerate(zip(fps, seeds, strict=True))
    ]


def write_clips(
    out: Path, batches: Iterable[NDArray[np.uint8]], records: Sequence[ClipRecord], mark: bool
) -> Iterator[int]:
    """Writes a file for each record, then the manifest; yields the number of clips written so far.

    Every file says that it is synthetic; see `mark.provenance`.

    Args:
        out: Folder, made if missing.
        batches: Clips (B, T, H, W, 3), in the order of `records`.
        records: One for each clip; the suffix of its file says the form.
        mark: Whether the clips get the visible mark. What is to be measured goes without.
    """
    out.mkdir(parents=True, exist_ok=True)
    done, comment = 0, provenance(records)
    for clips in batches:
        for clip in draw_mark(clips) if mark else clips:
            write_clip(out / records[done].file, clip, records[done].fps, comment)
            done += 1
        yield done
    write_manifest(out, records)


def sample_shapes(
    clip: Path,
    prior: Path,
    decoder: Path,
    sampling: Sampling,
    out: Path,
    fps: Sequence[float],
    per_pair: int,
    seed: int,
    track: Callable[..., Iterable[int]],
) -> None:
    """Samples a study's clips: every pair of colour and shape of Shapes World at every frame rate.

    Writes ``out/pipeline``, which `mav generate` takes, and ``out/clips``. Two systems sampled with one seed start
    each clip from the same noise.

    Args:
        clip: Folder of the trained CLIP.
        prior: Folder of the trained prior.
        decoder: Folder of the trained decoder.
        sampling: How clips are drawn.
        out: The stage's folder.
        fps: Frame rates.
        per_pair: Clips of every pair at every frame rate.
        seed: Of the study's trial.
        track: Wraps an iterable with a progress report, ``track(items, total, description)``.
    """
    write_pipeline(out / "pipeline", sampling, {"clip": clip, "prior": prior, "decoder": decoder})
    prompts = shapes_prompts(per_pair) * len(fps)
    rates = [float(rate) for rate in fps for _ in range(len(prompts) // len(fps))]
    seeds = [seed * 1_000_000 + number for number in range(len(prompts))]
    work = sample_clips(Pipeline.from_pretrained(out / "pipeline"), out / "clips", prompts, rates, seeds)
    for _ in track(work, -(-len(prompts) // sampling.batch_size), "batches"):
        pass
