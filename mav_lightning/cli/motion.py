"""``mav motion``: measure motion by optical flow."""

from pathlib import Path
from typing import Annotated

import typer
from annotated_types import Ge

from mav_lightning.cli.options import Overwrite, existing, output, within
from mav_lightning.cli.printing import echo
from mav_lightning.cli.progress import tracker
from mav_lightning.common.schema import PositiveFloat

__all__ = ["motion"]


def motion(
    folder: Annotated[
        Path,
        typer.Argument(
            callback=existing("folder"),
            help="Clips: a folder with a manifest.json, videos, or tar shards.",
            show_default=False,
        ),
    ],
    frames: Annotated[
        int | None,
        typer.Option(
            callback=within(Annotated[int, Ge(3)]),
            help="Number of frames of each clip, from its start. Default: 16, or those of the shortest clip.",
        ),
    ] = None,
    fps: Annotated[
        list[float] | None,
        typer.Option(
            callback=within(list[PositiveFloat]),
            help="Frame rate at which videos are cut. Several frame rates also give the slope of displacement.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(callback=output("new file"), help="JSON file to write.")] = Path("motion.json"),
    overwrite: Overwrite = False,
) -> None:
    """Measure motion by optical flow: displacement, flicker, consistency, loop closure, repeated frames.

    No network and no real clips are needed. Read the measures together, and next to those of real clips:
    docs/measures.md explains what each is blind to.

    Examples:
        mav motion runs/clips --out motion.json

        mav motion videos --frames 9 --fps 4 --fps 8 --out motion.json
    """
    from evaluation.motion.survey import motion_of
    from mav_lightning.cli.evaluate import print_scores
    from mav_lightning.common.console import SafeConsole
    from mav_lightning.common.json_files import write_json

    with tracker() as track:
        results = motion_of(folder, frames, fps or (), track)
    write_json(out, results)
    console = SafeConsole()
    print_scores(results["metrics"], console)
    echo(f"first {results['protocol']['frames']} frames of each clip; results: {out}")
