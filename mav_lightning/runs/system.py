"""Training all stages of a recipe on this machine.

Example:
    >>> from mav_lightning.runs.system import train_system
    >>> stages = plan_recipe(load_recipe("recipe/tiny.yaml"), {}, None, "tiny").values()  # doctest: +SKIP
    >>> train_system(list(stages), Path("runs/tiny"))  # doctest: +SKIP
"""

from collections.abc import Sequence
from pathlib import Path

from mav_lightning.cascade.pipeline_folder import copy_pipeline
from mav_lightning.common.console import SafeConsole
from mav_lightning.runs.display import Display
from mav_lightning.runs.executor import Local
from mav_lightning.runs.job import STALL
from mav_lightning.runs.ledger import Ledger
from mav_lightning.runs.repair import repair_stages
from mav_lightning.runs.scheduler import StageOutcomes, run_stages
from mav_lightning.runs.score_check import check_scores
from mav_lightning.runs.stage_folder import Stage

__all__ = ["train_system"]


def train_system(
    stages: Sequence[Stage],
    out: Path,
    jobs: int = 1,
    threads: int = 1,
    console: SafeConsole | None = None,
    stall: float = STALL,
) -> tuple[StageOutcomes, list[Path]]:
    """Run the missing stages of a system and copy its pipelines to the top of the folder.

    Args:
        stages: Planned stages, needed ones first, see `plan_recipe`.
        out: Folder of the system; stages are stored in ``out/stages``.
        jobs: Number of stages that run at once.
        threads: CPU threads per stage.
        console: Console for progress; None for standard output.
        stall: Seconds without progress after which a stage is ended and started again, once.

    Returns:
        Outcomes of the stages, and the folders of the pipelines that are ready for `Pipeline.from_pretrained`.

    Raises:
        UserError: If sampled clips could not be scored, see `check_scores`; nothing has been run then.
    """
    check_scores(str(out), {"": {stage.name: stage for stage in stages}})
    ledger, console = Ledger(out), console or SafeConsole()
    for line in repair_stages(ledger, stages):
        console.print(line, highlight=False, soft_wrap=True)
    with Display(ledger, len(stages), console) as display:
        outcomes = run_stages(ledger, stages, Local(jobs, threads, stall=stall), display)
    pipelines = []
    for stage in [*outcomes.ran, *outcomes.reused]:
        if stage.kind == "pipeline":
            copy_pipeline(ledger.folder(stage).artifact, out / stage.name)
            pipelines.append(out / stage.name)
    return outcomes, pipelines
