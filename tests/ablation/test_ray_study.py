"""One small study under both executors: the same numbers."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from mav_lightning.ablation.plan import read_plan
from mav_lightning.ablation.results import read_results
from mav_lightning.ablation.run import run_study
from mav_lightning.runs.on_ray import OnRay

Write = Callable[..., Path]


def scores(out: Path) -> dict[tuple[str, int], Any]:
    return {(one.trial.variant, one.trial.seed): one.scores for one in read_results(out, read_plan(out)).trials}


def test_a_study_under_ray_has_the_numbers_of_the_same_study_here(
    write_study: Write, stub_command: tuple[str, ...], finished_study: Path, tmp_path: Path
) -> None:
    try:
        run = run_study(write_study(), tmp_path / "out", executor=lambda study: OnRay(1, command=stub_command))
    finally:
        import_module("ray").shutdown()  # imported here at the latest: OnRay sets what Ray reads at its import

    assert run.outcome.complete and len(run.outcome.ran) == 15
    assert scores(tmp_path / "out") == scores(finished_study)
