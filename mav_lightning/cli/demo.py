"""``mav demo``: the whole system at the smallest scale."""

from pathlib import Path
from typing import Annotated

import typer

from mav_lightning.cli.options import output
from mav_lightning.cli.printing import echo

__all__ = ["demo"]

PROMPTS = [
    "a red circle on a dark background",
    "a blue square on a light background",
    "a yellow triangle on a dark background",
    "a green cross on a checkered background",
    "a green circle on a light background",
    "a red cross on a dark background",
]


def demo(
    out: Annotated[
        Path, typer.Option(callback=output("folder"), help="Folder of the study; run the same command to resume.")
    ] = Path("runs/demo"),
    jobs: Annotated[int, typer.Option(min=1, help="Stages to run in parallel.")] = 2,
) -> None:
    """Train a small cascade, run one ablation, generate clips, and print the report's path.

    The study is conf/ablation/quick.yaml: temporal layers against per-frame sampling, two seeds. It takes minutes on
    two CPU cores. The same prompts are sampled with the networks trained here, into `clips`, and with the ready-made
    cascade, into `ready-made`; the last two are pairs of color and shape that no training clip shows.

    Example: mav demo --out runs/demo
    """
    from mav_lightning.ablation.study_plan import read_plan
    from mav_lightning.cascade.pipeline_folder import copy_pipeline
    from mav_lightning.cli.ablate import ablate
    from mav_lightning.cli.generate import generate
    from mav_lightning.runs.ledger import Ledger

    ablate("ablation/quick.yaml", out=out, jobs=jobs)
    trial = next(trial for trial in read_plan(out).trials if trial.variant == "temporal")
    copy_pipeline(Ledger(out).folder(trial.sample).path / "pipeline", out / "pipeline")
    generate(out / "clips", PROMPTS, out / "pipeline", overwrite=True)
    generate(out / "ready-made", PROMPTS, overwrite=True)
    echo(f"report: {out / 'report.html'}")
