"""``mav motion``: how clips move, without any network."""

from pathlib import Path
from typing import Annotated

import typer

from mav_lightning.cli.options import output
from mav_lightning.cli.printing import echo
from mav_lightning.cli.progress import tracker

__all__ = ["motion"]


def motion(
    folder: Annotated[
        Path, typer.Argument(help="Clips with a manifest.json, plain videos, or shards.", show_default=False)
    ],
    frames: Annotated[int, typer.Option(help="Frames of each clip, from its start.")] = 16,
    fps: Annotated[
        list[float] | None, typer.Option(help="Cut videos at this rate; several give the slope of displacement.")
    ] = None,
    out: Annotated[Path, typer.Option(callback=output("file"), help="Where to write the results, as JSON.")] = Path(
        "motion.json"
    ),
) -> None:
    """Measures how clips move: displacement, flicker along the motion, consistency, loop closure, repeated frames.

    Anybody's clips, by optical flow; no network and no real clips are needed. Read the measures together, and beside
    those of real clips: docs/measures.md says what each is blind to.

    Examples:
        mav motion runs/clips --out motion.json

        mav motion videos --frames 9 --fps 4 --fps 8 --out motion.json
    """
    from rich.console import Console

    from evaluation.motion.survey import motion_of
    from mav_lightning.cli.evaluate import print_scores
    from mav_lightning.common.json_files import write_json

    with tracker() as track:
        results = motion_of(folder, frames, fps or (), track)
    write_json(out, results)
    console = Console()
    print_scores(results["metrics"], console)
    echo(f"results: {out}")
