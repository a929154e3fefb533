"""``mav generate``: clips from prompts, images and other clips."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mav_lightning.cli.options import Allow, output
from mav_lightning.cli.printing import echo
from mav_lightning.cli.progress import tracker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mav_lightning.cascade.clip_requests import ClipRequest, Clips, FramesRequest
    from mav_lightning.cascade.generation import Generation
    from mav_lightning.cascade.video_pipeline import Pipeline

__all__ = ["generate"]

_MOST_FRAMES = 4096  # of a given clip


def generate(
    out: Annotated[
        Path, typer.Option(callback=output("folder"), help="Folder for the clips, the manifest and sheet.png.")
    ],
    prompts: Annotated[list[str] | None, typer.Argument(help="What the clips show, one text per clip.")] = None,
    pipeline: Annotated[
        Path | None, typer.Option(help="Pipeline folder. Default: the pretrained Shapes World cascade.")
    ] = None,
    prompts_file: Annotated[
        Path | None, typer.Option(help="Text file with one prompt per line, or a table from `mav data prompts`.")
    ] = None,
    animate: Annotated[Path | None, typer.Option(help="Image that becomes the first frame.")] = None,
    interpolate: Annotated[
        tuple[Path, Path] | None, typer.Option(help="Two images that become the first and the last frame.")
    ] = None,
    extrapolate: Annotated[Path | None, typer.Option(help="Clip to continue.")] = None,
    variation: Annotated[Path | None, typer.Option(help="Clip to generate variations of.")] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Make each clip loop seamlessly.")] = False,
    fps: Annotated[
        list[float] | None,
        typer.Option(help="Frame rate in frames per second, before interpolation for text; repeatable. Default: 8."),
    ] = None,
    per_prompt: Annotated[int, typer.Option(min=1, help="Clips per prompt, image or clip and frame rate.")] = 1,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the first clip per prompt; further clips use seed + 1, seed + 2, …")
    ] = 0,
    form: Annotated[
        str, typer.Option("--format", help="mkv (lossless), mp4, gif, or frames (a folder of PNGs per clip).")
    ] = "mkv",
    mark: Annotated[bool, typer.Option(help="Draw the visible mark. Omit it for clips to be evaluated.")] = True,
    sign: Annotated[
        tuple[Path, Path] | None,
        typer.Option(help="Certificate and private key (PEM) to sign every file with (C2PA; mp4, gif or frames)."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Sampler steps. Default: the pipeline's.")] = None,
    guidance_scale: Annotated[
        float | None, typer.Option(help="Guidance scale of the decoder; 1 disables guidance. Default: the pipeline's.")
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="Processes that divide the clips, one per device.")] = 1,
    allow: Allow = None,
) -> None:
    """Generate clips and a contact sheet: every prompt at every frame rate with every seed.

    Clips are generated from text or, if the pipeline has an interpolation network, from images and clips, which are
    cropped to a square and resized. A given clip is read at the first frame rate. The same input, fps, seed and steps
    give the same pixels, alone or in a batch. If interrupted, rerun the command to resume. Every file records that it
    is synthetic and has a visible mark unless --no-mark is given; `mav inspect` reads both.

    Examples:
        mav generate "a red circle on a dark background" --out clips --fps 8

        mav generate --prompts-file prompts.txt --out clips --fps 4 --fps 16 --per-prompt 4

        mav generate --animate photo.png --pipeline runs/pipeline --out clips --per-prompt 4
    """
    from mav_lightning.cascade.clip_files import Format
    from mav_lightning.cascade.generation import Generation
    from mav_lightning.cascade.sheet import write_sheet
    from mav_lightning.cascade.sign import Signing
    from mav_lightning.cascade.video_pipeline import Pipeline
    from mav_lightning.common.schema import check

    rates, seeds = fps or [8.0], range(seed, seed + per_prompt)
    given = {
        "animate": [animate] if animate else [],
        "interpolate": list(interpolate or ()),
        "extrapolate": [extrapolate] if extrapolate else [],
        "variation": [variation] if variation else [],
    }
    use = _only_use(given, bool(prompts or prompts_file))
    settings = {"steps": steps, "guidance_scale": guidance_scale}
    changed = {name: value for name, value in settings.items() if value is not None}
    loaded = Pipeline.from_pretrained(pipeline, **changed)
    signing = Signing(*sign) if sign else None
    if use == "prompts":
        requests = _from_prompts(loaded, prompts or [], prompts_file, rates, seeds, loop)
    else:
        requests = _from_files(loaded, use, given[use], rates, seeds, loop)
    generation = Generation(loaded, requests, out, format=check(form, Format, "format"), mark=mark, signing=signing)
    _run(generation, devices)
    write_sheet(out, out / "sheet.png")
    echo(f"{len(requests)} clips: {out}; contact sheet: {out / 'sheet.png'}")


def _run(generation: "Generation", devices: int) -> None:
    from mav_lightning.common.machine import default_device

    if devices > 1:
        from mav_lightning.cascade.distributed import DistributedGeneration
        from mav_lightning.cli.devices import predict_on

        if not predict_on(devices, DistributedGeneration(generation)):
            raise typer.Exit(0)
        return
    generation.pipeline.to(default_device())
    missing = generation.batches()
    with tracker() as track:
        for numbers in track(missing, len(missing), "sampling batches"):
            generation.write(numbers)
    generation.finish()


def _only_use(given: dict[str, list[Path]], prompts: bool) -> str:
    from mav_lightning.common.errors import UserError

    requested = [*(["prompts"] if prompts else []), *(use for use, files in given.items() if files)]
    if len(requested) != 1:
        options = ", ".join(f"--{use}" for use in given)
        raise UserError(f"give either prompts or one of {options}; got {' and '.join(requested) or 'none'}.")
    return requested[0]


def _from_prompts(
    pipeline: "Pipeline", words: list[str], file: Path | None, fps: list[float], seeds: range, loop: bool
) -> "Sequence[ClipRequest]":
    """Request every prompt at every frame rate with every seed."""
    from mav_lightning.cascade.clip_requests import TextRequest, text_requests
    from mav_lightning.cascade.generation import check_clip_count
    from mav_lightning.prompts import Prompt, read_prompts

    pipeline.check(TextRequest, fps, loop)
    prompts = [*map(Prompt, words), *(read_prompts(file) if file else [])]
    check_clip_count(len(prompts) * len(fps) * len(seeds))
    return text_requests(prompts, fps, seeds, loop)


def _from_files(
    pipeline: "Pipeline", use: str, files: list[Path], fps: list[float], seeds: range, loop: bool
) -> "Sequence[ClipRequest]":
    """Request clips from images or a clip, at every frame rate with every seed."""
    from mav_lightning.cascade import clip_requests
    from mav_lightning.cascade.generation import check_clip_count
    from mav_lightning.common.errors import UserError

    kinds: dict[str, type[FramesRequest]] = {
        "animate": clip_requests.AnimateRequest,
        "interpolate": clip_requests.MorphRequest,
        "extrapolate": clip_requests.ExtrapolateRequest,
        "variation": clip_requests.VariationRequest,
    }
    if use == "extrapolate" and len(fps) > 1:
        raise UserError(f"a clip is continued at the rate it is read at; give one, got {len(fps)}.", argument="fps")
    pipeline.check(kinds[use], fps, loop)  # before anything is decoded
    check_clip_count(len(fps) * len(seeds))
    frames, source = _read(use, files, fps[0], pipeline.sampling.size), " ".join(map(str, files))
    return [kinds[use](frames=frames, source=source, fps=rate, seed=seed, loop=loop) for rate in fps for seed in seeds]


def _read(use: str, files: list[Path], fps: float, size: int) -> "Clips":
    """Read the given images, or the given clip's frames at `fps`, as one array (T, size, size, 3)."""
    import numpy as np

    from mav_lightning.common.cropping import crop_to_square
    from mav_lightning.common.errors import UserError
    from mav_lightning.media.media_reader import open_media
    from mav_lightning.media.pictures import decode_picture

    for file in files:
        if not file.is_file():
            raise UserError(f"{file}: no such file.", argument=use)
    if use in ("animate", "interpolate"):
        return np.stack([crop_to_square(decode_picture(file), size) for file in files])
    (file,) = files
    with open_media(file) as video:
        times = video.timeline
        count = 1 + int(min(times.span * fps, 2 * _MOST_FRAMES) + 1e-6)
        if not 2 <= count <= _MOST_FRAMES:
            raise UserError(
                f"{file}: has {count} frames at {fps:g} fps ({len(times)} at {times.fps:g}), 2 to {_MOST_FRAMES} are "
                "accepted; choose another --fps, cut the clip, or use --animate with an image.",
                argument=use,
            )
        numbers = times.at(np.arange(count) / fps).tolist()
        return np.stack([crop_to_square(frame, size) for frame in video.frames(numbers)])
