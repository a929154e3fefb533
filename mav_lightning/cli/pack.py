"""``mav data pack`` and ``mav data prompts``: pack videos of one's own or of a published dataset, and its prompts."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mav_lightning.cli.options import Overwrite, existing, output, within
from mav_lightning.cli.printing import echo, list_files
from mav_lightning.cli.progress import tracker
from mav_lightning.common.counting import counted
from mav_lightning.common.schema import Fraction, NonNegativeFloat, NonNegativeInt, PositiveInt, Seed

if TYPE_CHECKING:
    from datamodules.annotations import Annotator
    from datamodules.packing import PackReport

__all__ = ["pack", "prompts"]

_NAMED = 10  # files of one list to print; there may be thousands
# Option → the source of annotations that it applies to.
_OF_SOURCE = {
    "val": "captions", "split": "ucf101", "prompts": "ucf101", "caption-seed": "msrvtt", "validate-as": "msrvtt",
}  # fmt: skip


def pack(
    src: Annotated[
        Path,
        typer.Argument(
            metavar="SRC", callback=existing("folder"), help="Folder of videos and images.", show_default=False
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(callback=output("new folder"), help="Folder to write; must be new or empty.", show_default=False),
    ],
    captions: Annotated[
        Path | None, typer.Option(callback=existing("file"), help="Tab-separated table: file caption label group.")
    ] = None,
    ucf101: Annotated[
        Path | None,
        typer.Option(callback=existing("folder"), help="UCF-101's folder ucfTrainTestlist; SRC: class folders."),
    ] = None,
    msrvtt: Annotated[
        Path | None,
        typer.Option(callback=existing("file"), help="MSR-VTT's json, or a table: video_id official_split caption."),
    ] = None,
    val: Annotated[
        float | None,
        typer.Option(
            callback=within(Fraction),
            help="With --captions: fraction of groups held out for validation, by default 0.1.",
        ),
    ] = None,
    split: Annotated[
        int | None, typer.Option(min=1, max=3, help="With --ucf101: official split, 1 to 3, by default 1.")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            callback=existing("file"), help="With --ucf101: table class_name prompt; by default the class name's words."
        ),
    ] = None,
    caption_seed: Annotated[
        int | None,
        typer.Option(
            callback=within(Seed), help="With --msrvtt: seed for sampling one caption per video, by default 0."
        ),
    ] = None,
    validate_as: Annotated[
        Literal["train", "val"] | None,
        typer.Option(help="With --msrvtt: split for its validation videos, train or val; default: none."),
    ] = None,
    stills: Annotated[
        int, typer.Option(callback=within(NonNegativeInt), help="Still frames taken from each captioned video.")
    ] = 4,
    shard_size: Annotated[int, typer.Option(callback=within(PositiveInt), help="Samples per shard.")] = 1000,
    cut_scenes: Annotated[
        bool,
        typer.Option("--cut-scenes", help="Cut films into shots, each re-encoded as a clip; needs the extra `scenes`."),
    ] = False,
    min_motion: Annotated[
        float,
        typer.Option(
            callback=within(NonNegativeFloat),
            help="Leave out clips with less optical flow, in frame widths per second; 0 measures nothing.",
        ),
    ] = 0.0,
    overwrite: Overwrite = False,
) -> None:
    """Pack your own videos and images, UCF-101 or MSR-VTT into shards.

    Files that cannot be used are listed and skipped. The official test split becomes the split val.

    Examples:
        mav data pack videos --captions videos/captions.tsv --out runs/mydata

        mav data pack UCF-101 --ucf101 ucfTrainTestlist --split 1 --prompts prompts.tsv --out runs/ucf101

        mav data pack MSRVTT/videos --msrvtt MSRVTT_data.json --out runs/msrvtt

        mav data pack films --captions films/captions.tsv --cut-scenes --min-motion 0.02 --out runs/films
    """
    from datamodules.packing import pack as pack_folder

    options = {
        "val": val, "split": split, "prompts": prompts, "caption-seed": caption_seed, "validate-as": validate_as
    }  # fmt: skip
    source = _only_source({"captions": captions, "ucf101": ucf101, "msrvtt": msrvtt}, options)
    known = {name: value for name, value in options.items() if value is not None}
    held_out = {"val": val} if val is not None else {}
    with tracker() as track:
        report = pack_folder(
            src,
            _annotator(*source, known),
            out,
            **held_out,
            stills=stills,
            shard_size=shard_size,
            cut_scenes=cut_scenes,
            min_motion=min_motion,
            track=track,
            overwrite=overwrite,
        )
    for place, count in report.written.items():
        echo(f"{out / place}: {counted(count, 'sample')}")
    list_files(
        "without a group, each assigned to train or val independently; if some are cut from one film, name it in the "
        "column `group`",
        report.ungrouped, _NAMED, noun="file",
    )  # fmt: skip
    _echo_shots(report)
    for reason, files in report.unused.items():
        list_files(f"not used, {reason}", files, _NAMED)
    for reason, files in report.left_out.items():
        list_files(f"left out, {reason}", files, _NAMED)
    list_files("listed, but missing", report.absent, _NAMED)
    list_files("undecodable, left out", [f"{file}: {reason}" for file, reason in report.undecodable.items()])
    list_files("without a caption (videos are packed as clips only, images are left out)", report.uncaptioned)


def _echo_shots(report: "PackReport") -> None:
    """Print what was cut into shots, how much clips move, and which were left out for that."""
    import numpy as np

    if report.cut:
        echo(f"{counted(len(report.cut), 'film')} cut into {sum(report.cut.values())} shots")
    if report.motion:
        low, middle, high = np.quantile(list(report.motion.values()), (0.1, 0.5, 0.9))
        echo(
            f"motion of {counted(len(report.motion), 'clip')} in frame widths per second: a tenth below {low:.4f}, "
            f"half below {middle:.4f}, a tenth above {high:.4f}"
        )
    list_files("left out", [f"{name}: {reason}" for name, reason in report.dropped.items()], _NAMED, noun="clip")


def prompts(
    annotation: Annotated[
        Path,
        typer.Argument(metavar="ANNOTATION", callback=existing("file"), help="MSR-VTT's, or UCF-101's class prompts."),
    ],
    out: Annotated[
        Path, typer.Option(callback=output("new file"), help="Table to write: id prompt.", show_default=False)
    ],
    per_video: Annotated[
        Literal["one", "all"] | None, typer.Option(help="MSR-VTT: one caption per test video, or all of them.")
    ] = None,
    per_class: Annotated[
        int | None, typer.Option(callback=within(PositiveInt), help="UCF-101: repetitions of each class's prompt.")
    ] = None,
    frequencies: Annotated[
        Path | None,
        typer.Option(
            callback=existing("file"), help="UCF-101: training list whose class frequencies are kept; needs --clips."
        ),
    ] = None,
    clips: Annotated[
        int | None, typer.Option(callback=within(PositiveInt), help="With --frequencies: number of prompts.")
    ] = None,
    caption_seed: Annotated[
        int | None,
        typer.Option(
            callback=within(Seed), help="With --per-video one: seed of the sampling, by default 0; as in mav data pack."
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the prompts of published text-to-video protocols, for mav generate --prompts-file.

    A prompt that is listed several times gives as many clips with different seeds.

    Examples:
        mav data prompts MSRVTT_data.json --per-video one --out prompts.tsv

        mav data prompts ucf101-prompts.tsv --per-class 100 --out prompts.tsv

        mav data prompts ucf101-prompts.tsv --frequencies trainlist01.txt --clips 10000 --out prompts.tsv
    """
    from datamodules.prompt_lists import caption_prompts, class_prompts, frequency_prompts
    from mav_lightning.common.errors import UserError
    from mav_lightning.prompts import write_prompts

    sources = {"--per-video": per_video, "--per-class": per_class, "--frequencies": frequencies}
    given = [name for name, value in sources.items() if value is not None]
    if len(given) != 1:
        raise UserError(
            "give --per-video for MSR-VTT, or --per-class or --frequencies for UCF-101, exactly one of them; got "
            f"{' and '.join(given) or 'none'}."
        )
    if caption_seed is not None and per_video != "one":
        raise UserError(
            f"has no effect with {given[0]} {per_video or ''}".rstrip() + "; omit it.", argument="caption_seed"
        )
    if (clips is None) != (frequencies is None):
        raise UserError("is needed with --frequencies, and has no effect without.", argument="clips")
    if per_video is not None:
        listed = caption_prompts(annotation, per_video, caption_seed or 0)
    elif per_class is not None:
        listed = class_prompts(annotation, per_class)
    else:
        listed = frequency_prompts(annotation, frequencies or Path(), clips or 0)
    write_prompts(out, listed)
    echo(f"{out}: {counted(len(listed), 'prompt')}")


def _only_source(sources: Mapping[str, Path | None], options: Mapping[str, Any]) -> tuple[str, Path]:
    """Return the name and the path of the one source given; options of another source are errors."""
    from mav_lightning.common.errors import UserError

    given = [(name, path) for name, path in sources.items() if path is not None]
    if len(given) != 1:
        got = ", ".join(f"--{name}" for name, _ in given) or "none"
        shown = ", ".join(f"--{name}" for name in sources)
        raise UserError(f"give one of {shown}, exactly one of them; got {got}. See `mav data pack --help`.")
    for option, value in options.items():
        if value is not None and _OF_SOURCE[option] != given[0][0]:
            raise UserError(f"--{option}: applies to --{_OF_SOURCE[option]}, got --{given[0][0]}; omit it.")
    return given[0]


def _annotator(source: str, path: Path, known: Mapping[str, Any]) -> "Path | Annotator":
    """Return the table of captions, or the reader of another source with the options given."""
    from datamodules.msrvtt import read_msrvtt
    from datamodules.ucf101 import read_ucf101

    if source == "captions":
        return path
    if source == "ucf101":
        return partial(read_ucf101, path, **known)
    return partial(read_msrvtt, path, **{option.replace("-", "_"): value for option, value in known.items()})
