"""``run.json``: what a training is, how far it has to go, and the sha256 of what it has left."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mav_lightning.common.errors import UserError
from mav_lightning.common.hashing import file_sha256
from mav_lightning.common.identity import first_difference, identity_sha256
from mav_lightning.common.json_files import write_json
from mav_lightning.common.schema import NonNegativeInt, read_json

__all__ = ["MACHINE", "RUN", "RunRecord", "damaged_artifact", "read_run", "refuse_other_run", "write_run"]

RUN = "run.json"
MACHINE = "machine"


@dataclass(frozen=True)
class RunRecord:
    """Content of ``run.json``.

    Attributes:
        id: sha256 of `run`.
        run: Identity of the run: everything that can change its result, as nested plain data.
        state: Whether the run is finished: as many steps done as requested, and the results written.
        steps: Optimizer steps requested.
        artifacts: File in the folder → sha256; empty until the run is finished.
        extended_from: Earlier values of `steps`, in order.
        other_machines: Descriptions of other machines or thread counts on which parts of the run were computed.
        format: Version of the format.
    """

    id: str
    run: dict[str, Any]
    state: Literal["unfinished", "finished"]
    steps: NonNegativeInt
    artifacts: dict[str, str] = field(default_factory=dict)
    extended_from: list[int] = field(default_factory=list)
    other_machines: list[dict[str, Any]] = field(default_factory=list)
    format: Literal[1] = 1


def read_run(out: Path) -> RunRecord | None:
    """Read ``run.json`` of a folder; return None if there is none.

    Raises:
        UserError: If the file is damaged.
    """
    file = out / RUN
    if not file.exists():
        return None
    record: RunRecord = read_json(file, RunRecord)
    if record.id != identity_sha256(record.run):
        raise UserError(f"{file}: its id is not the sha256 of its `run`; the file was edited or damaged: restore it.")
    return record


def write_run(out: Path, record: RunRecord) -> None:
    """Write ``run.json``."""
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / RUN, asdict(record))


def damaged_artifact(out: Path, record: RunRecord) -> str | None:
    """Return the name of the first artifact of a finished run that is missing or differs from its sha256, or None."""
    for name, sha256 in record.artifacts.items():
        if not (out / name).is_file() or file_sha256(out / name) != sha256:
            return name
    return None


def refuse_other_run(where: Path, was: Mapping[str, Any], now: Mapping[str, Any], any_machine: bool) -> None:
    """Reject a folder or checkpoint of another run.

    Args:
        where: The folder or the checkpoint, for the message.
        was: Identity of the run that it belongs to.
        now: Identity of the requested run.
        any_machine: Accept another machine, thread count or version of PyTorch.

    Raises:
        UserError: If they differ; the message names the first key that differs and both values.
    """
    before, after = ({key: one[key] for key in one if not (any_machine and key == MACHINE)} for one in (was, now))
    found = first_difference(before, after)
    if found is None:
        return
    message = f"{where}: belongs to another run: `{found.key}` is {found.was} there and {found.now} here."
    if found.key == "results":
        way_out = "Results of the two versions of the code differ; finish with the old one, or use another `out`."
    elif found.key.startswith(f"{MACHINE}."):
        way_out = (
            "Only the same machine computes the same bits; restore it, use another `out`, or accept other bits with "
            "`any_machine` (--any-machine)."
        )
    elif found.key.rpartition(".")[2] == "code" or found.key.startswith("packages."):
        way_out = "This is the hash of code of your own, which has changed; restore it, or use another `out`."
    elif found.key == "fit.steps":
        way_out = "Use another `out`, or continue the run to more steps with `extend` (--extend)."
    else:
        way_out = "Use another `out`, or restore the old value."
    raise UserError(f"{message} {way_out}")
