"""Check of the folders of a plan's stages: what cannot be read is set aside and made again."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mav_lightning.common.errors import UserError
from mav_lightning.common.lease import LEASE, claim, held
from mav_lightning.common.manifest import read_manifest
from mav_lightning.runs.ledger import Ledger
from mav_lightning.runs.records import read_scores
from mav_lightning.runs.stage_folder import Stage, StageFolder
from mav_lightning.training.run_record import damaged_artifact, read_run

__all__ = ["repair_stages"]

_READERS: dict[str, Callable[[StageFolder], object]] = {
    "stage.json": StageFolder.read_stage,
    "done.json": StageFolder.read_done,
    "failed.json": StageFolder.read_failure,
    "cost.json": StageFolder.read_cost,
    "progress.json": StageFolder.read_progress,
    "spent.json": StageFolder.read_spent,
    "tags.json": StageFolder.read_tags,
}
_FILES = (*_READERS, LEASE, "log.txt", "results.json", "run.json", "uncommitted.patch")
_FOLDERS = ("checkpoints", "clips", "csv", "pipeline", "shards", "tensorboard")


def repair_stages(ledger: Ledger, stages: Sequence[Stage]) -> list[str]:
    """Set aside what cannot be read in the folders of stages; finished stages whose results are damaged run again.

    Nothing is deleted: ``NAME`` becomes ``NAME.damaged``. Stages that a living process holds are left alone, and so is
    a readable ``stage.json`` of another stage, see `StageFolder.create`.

    Args:
        ledger: Ledger that holds the stages' folders.
        stages: Stages of a plan.

    Returns:
        One line for each damaged file: what is wrong with it, and what happens.

    Raises:
        UserError: If a file is where the folder of a stage belongs.
    """
    return [line for stage in stages for line in _repair(ledger.folder(stage), stage)]


def _repair(folder: StageFolder, stage: Stage) -> list[str]:
    if not folder.path.is_dir():
        if folder.path.exists():
            raise UserError(f"{folder.path}: is a file where the folder of a stage belongs; move it, and run again.")
        return []
    lines = []
    if (folder.path / LEASE).is_dir():  # nothing could be claimed
        lines.append(_set_aside(folder.path / LEASE, "is a folder where a file belongs"))
    if held(folder.path) or next(_damages(folder, stage), None) is None:
        return lines
    lease = claim(folder.path)
    if lease is None:
        return lines
    try:  # again, as another process may have repaired it in the meantime
        for file, reason in _damages(folder, stage):
            again = f"; stage {stage.name} runs again" if file == folder.done_file else ""
            lines.append(_set_aside(file, f"{reason}{again}"))
    finally:
        lease.release()
    return lines


def _damages(folder: StageFolder, stage: Stage) -> Iterator[tuple[Path, str]]:
    """Yield each damaged file of a stage's folder, and what is wrong with it."""
    for name in _FILES:
        if (folder.path / name).is_dir():
            yield folder.path / name, "is a folder where a file belongs"
    for name in _FOLDERS:
        if (folder.path / name).is_file():
            yield folder.path / name, "is a file where a folder belongs"
    for name, read in _READERS.items():
        try:
            if (folder.path / name).is_file():
                read(folder)
        except UserError as error:
            yield folder.path / name, _reason(folder.path / name, error)
    if folder.done_file.is_file() and (reason := _incomplete(folder, stage)):
        yield folder.done_file, reason


def _incomplete(folder: StageFolder, stage: Stage) -> str | None:
    """Return what is missing or damaged of the results of a finished stage; None if they are whole."""
    try:
        if stage.kind == "train" and (record := read_run(folder.path)) is not None:
            damaged = damaged_artifact(folder.path, record)
            return f"records a finished stage, but {damaged} is missing or damaged" if damaged else None
        if stage.kind == "score":
            read_scores(folder.results_file)
        if stage.kind == "sample":
            missing = next(
                (one.file for one in read_manifest(folder.clips) if not _filled(folder.clips / one.file)), None
            )
            return f"records a finished stage, but {missing} is missing or empty" if missing else None
    except UserError as error:
        return f"records a finished stage, but {error}"
    return None


def _filled(file: Path) -> bool:
    return file.is_dir() or (file.is_file() and file.stat().st_size > 0)


def _set_aside(file: Path, reason: str) -> str:
    target = file.with_name(f"{file.name}.damaged")
    number = 1
    while target.exists():
        number += 1
        target = file.with_name(f"{file.name}.damaged-{number}")
    file.rename(target)
    return f"{file}: {reason}; set aside as {target.name}."


def _reason(file: Path, error: UserError) -> str:
    return str(error).removeprefix(f"{file}: ").removesuffix(".")
