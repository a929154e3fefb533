"""``mav generate``: clips from prompts, images and other clips."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mav_lightning.cascade.pipeline_file import CONFIG, READY_MADE
from mav_lightning.cascade.sampling import Count, Factor, GuidanceScale, Steps
from mav_lightning.cli.clip_inputs import ClipInputs
from mav_lightning.cli.devices import is_first_process
from mav_lightning.cli.options import Allow, Overwrite, existing, memory_size, output, within
from mav_lightning.cli.printing import echo, list_files
from mav_lightning.cli.progress import tracker
from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import NoiseSeed, PositiveFloat, PositiveInt
from mav_lightning.common.tracking import untracked

if TYPE_CHECKING:
    from mav_lightning.cascade.generation import Generation

__all__ = ["generate"]

_MOST_WARNINGS = 10  # lines
_HOW = "write a pipeline of trained networks with `mav pipeline`, or train a small one with `mav demo`"
_pipeline_folder = existing("folder", _HOW, holds=CONFIG)


def generate(
    out: Annotated[
        Path, typer.Option(callback=output("folder"), help="Folder for the clips, the manifest and sheet.png.")
    ],
    prompts: Annotated[list[str] | None, typer.Argument(help="What the clips show, one text per clip.")] = None,
    pipeline: Annotated[
        Path | None,
        typer.Option(callback=_pipeline_folder, help="Pipeline folder. Default: the pretrained Shapes World cascade."),
    ] = None,
    prompts_file: Annotated[
        Path | None,
        typer.Option(
            callback=existing("file"), help="Text file with one prompt per line, or a table from `mav data prompts`."
        ),
    ] = None,
    animate: Annotated[
        Path | None, typer.Option(callback=existing("file"), help="Image that becomes the first frame.")
    ] = None,
    interpolate: Annotated[
        tuple[Path, Path] | None,
        typer.Option(callback=existing("file"), help="Two images that become the first and the last frame."),
    ] = None,
    extrapolate: Annotated[Path | None, typer.Option(callback=existing("file"), help="Clip to continue.")] = None,
    precede: Annotated[
        Path | None, typer.Option(callback=existing("file"), help="Clip to prepend frames to: what came before it.")
    ] = None,
    variation: Annotated[
        Path | None, typer.Option(callback=existing("file"), help="Clip to generate variations of.")
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Append frames that lead back to the first one.")] = False,
    fps: Annotated[
        list[float] | None,
        typer.Option(
            callback=within(list[PositiveFloat]),
            help="Frame rate in frames per second, before interpolation for text; repeatable. Default: 8. The "
            "pretrained cascade takes 4 to 16; at 4, objects jump in one clip of eight.",
        ),
    ] = None,
    per_prompt: Annotated[
        int, typer.Option(callback=within(PositiveInt), help="Clips per prompt, image or clip and frame rate.")
    ] = 1,
    seed: Annotated[
        int,
        typer.Option(
            callback=within(NoiseSeed),
            help="Seed of the first clip per prompt; further clips use seed + 1, seed + 2, …",
        ),
    ] = 0,
    form: Annotated[
        Literal["mp4", "mkv", "gif", "frames"] | None,
        typer.Option(
            "--format",
            help="mp4, mkv (lossless), gif (at most 50 fps), or frames (a folder of PNGs per clip). Default: mp4, or "
            "mkv with --no-mark.",
        ),
    ] = None,
    mark: Annotated[bool, typer.Option(help="Draw the visible mark. Omit it for clips to be evaluated.")] = True,
    scale: Annotated[
        int, typer.Option(callback=within(Factor), help="Upsample marked frames by this factor, each pixel repeated.")
    ] = 1,
    sign: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            callback=existing("file"),
            help="Certificate and private key (PEM) to sign every file with (C2PA; mp4, gif or frames).",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(callback=within(Steps), help="Sampler steps of the decoder. Default: the pipeline's.")
    ] = None,
    guidance_scale: Annotated[
        float | None,
        typer.Option(
            callback=within(GuidanceScale),
            help="Guidance scale of the decoder; 1 disables guidance. Default: the pipeline's.",
        ),
    ] = None,
    output_size: Annotated[
        int | None,
        typer.Option(
            callback=within(Count),
            help="Side in pixels to which the finished frames are reduced. Default: the pipeline's.",
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            callback=memory_size,
            metavar="SIZE",
            help="Memory per device for weights and tensors, for example 8GiB. Every network processes as many clips "
            "at once as fit. Useful for many clips only, as batches are filled with copies. Default: the pipeline's "
            "batch sizes.",
        ),
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="Processes that divide the clips, one per device.")] = 1,
    overwrite: Overwrite = False,
    allow: Allow = None,
) -> None:
    """Generate clips and a contact sheet: every prompt at every frame rate with every seed.

    Clips are generated from text or, if the pipeline has an interpolation network, from images and clips, which are
    cropped to a square and resized. A given clip is read at the first frame rate. The same input, fps, seed, steps and
    memory give the same pixels, alone or in a batch. If interrupted, rerun the command to resume. Every file records
    that it is synthetic and has a visible mark unless --no-mark is given; `mav inspect` reads both.

    Every clip is checked: the command warns of words that are unknown to the text encoder and of jumps from one frame
    to the next.

    Examples:
        mav generate "a red circle on a dark background" --out clips --fps 8

        mav generate --prompts-file prompts.txt --out clips --fps 4 --fps 16 --per-prompt 4

        mav generate --animate photo.png --pipeline runs/pipeline --out clips --per-prompt 4
    """
    from mav_lightning.cascade.clip_writer import choose_format
    from mav_lightning.cascade.sign import Signing

    given = {
        "animate": [animate] if animate else [],
        "interpolate": list(interpolate or ()),
        "extrapolate": [extrapolate] if extrapolate else [],
        "precede": [precede] if precede else [],
        "variation": [variation] if variation else [],
    }
    use = _only_use(given, bool(prompts or prompts_file))
    choose_format(form, mark=mark, scale=scale, signed=sign is not None)
    settings = {"steps": steps, "guidance_scale": guidance_scale, "output_size": output_size, "memory": memory}
    changed = {name: value for name, value in settings.items() if value is not None}
    folder = pipeline or READY_MADE
    inputs = ClipInputs(folder, fps or [8.0], range(seed, seed + per_prompt), loop)
    requests = (
        inputs.from_prompts(prompts or [], prompts_file) if use == "prompts" else inputs.from_files(use, given[use])
    )

    signing = Signing(*sign) if sign else None

    from mav_lightning.cascade.generation import Generation
    from mav_lightning.cascade.video_pipeline import Pipeline

    loaded = Pipeline.from_pretrained(folder, **changed)
    if is_first_process():
        list_files("about prompts", loaded.prompt_warnings(requests), _MOST_WARNINGS, noun="warning")
    generation = Generation(
        loaded, requests, out, format=form, mark=mark, scale=scale, signing=signing, overwrite=overwrite
    )
    _run(generation, devices)
    _summarize(generation)


def _run(generation: "Generation", devices: int) -> None:
    from mav_lightning.common.machine import default_device

    if devices > 1:
        from mav_lightning.cascade.distributed import DistributedGeneration
        from mav_lightning.cli.devices import predict_on

        with tracker() if is_first_process() else nullcontext(untracked) as track:
            first = predict_on(devices, DistributedGeneration(generation, track), progress=False)
        list_files("about clips", generation.warnings(), _MOST_WARNINGS, noun="warning")
        if not first:
            raise typer.Exit(0)
        return
    generation.pipeline.to(default_device())
    generation.start()
    with tracker() as track:
        generation.run(track)
    generation.finish()
    list_files("about clips", generation.warnings(), _MOST_WARNINGS, noun="warning")


def _summarize(generation: "Generation") -> None:
    """Draw the contact sheet, and print where everything is."""
    from mav_lightning.cascade.sheet import SHEET, write_sheet
    from mav_lightning.common.gif import MOST_FPS

    out, count = generation.out, len(generation.records)
    shown = write_sheet(out, out / SHEET)
    part = f" of the first {shown}" if shown < count else ""
    echo(f"{counted(count, 'clip')}: {out}; contact sheet{part}: {out / SHEET}")
    if generation.drops_frames:
        echo(f"GIFs play at up to {MOST_FPS:g} fps in browsers; evenly spaced frames were left out. mp4 keeps all.")


def _only_use(given: dict[str, list[Path]], prompts: bool) -> str:
    requested = [*(["prompts"] if prompts else []), *(use for use, files in given.items() if files)]
    if len(requested) != 1:
        options = ", ".join(f"--{use}" for use in given)
        raise UserError(f"give either prompts or one of {options}; got {' and '.join(requested) or 'none'}.")
    return requested[0]
