"""Choice of the samples of an index by a condition on their metadata; see `Where`."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.index import Index
from datamodules.parallel import in_parallel
from datamodules.where import LACK, Lacking, Where, field_names
from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError, nearest
from mav_lightning.common.terminal import SafeLog
from mav_lightning.shards.sample_facts import read_caption, read_metadata
from mav_lightning.shards.samples import SampleError

__all__ = ["select"]

_CHUNK = 4096  # samples that a process reads at a time; fewer in all are read by this process
_MEMBERS = frozenset(("txt", "json"))
log = SafeLog(__name__)


def select(index: Index, numbers: NDArray[np.int64], where: Where) -> NDArray[np.int64]:
    """Return the numbers of the samples for which a condition is true, and log how many were kept.

    The fields are those of the sample's ``.json``, ``caption`` as `read_caption` finds it, and the properties of its
    video or image, ``media.width``, ``media.height``, ``media.frames``, ``media.fps`` and ``media.span``. Samples for
    which fields that they lack leave the condition open are left out and counted.

    Args:
        index: Index of the shards.
        numbers: Numbers of the samples to choose from, increasing.
        where: The condition.

    Raises:
        UserError: No sample is left, or no sample holds a field that the condition compares.
        MachineError: The operating system cannot read a shard.
    """
    chunks = [numbers[start : start + _CHUNK] for start in range(0, len(numbers), _CHUNK)]
    found = _Found(np.empty(0, np.bool_))
    for part in in_parallel(partial(_examine, index, where), chunks, 0 if len(chunks) < 2 else None):
        found = found.joined(part)
    _check_fields(index, numbers, where, found)
    kept = numbers[found.kept]
    message = f"{index.folder}: `{where.text}` keeps {len(kept)} of {counted(len(numbers), 'sample')}{found.reasons()}"
    if not len(kept):
        raise UserError(f"{message}; change the condition.", argument="where")
    log.warning("%s.", message)
    return kept


@dataclass(frozen=True)
class _Found:
    """What a condition found in some samples: which are kept, and why others could not be judged."""

    kept: NDArray[np.bool_]
    problems: Counter[tuple[str, str]] = field(default_factory=Counter)  # (field, what is wrong), of samples left open
    absent: Counter[str] = field(default_factory=Counter)  # field, of all samples

    def joined(self, other: "_Found") -> "_Found":
        kept = np.concatenate([self.kept, other.kept])
        return _Found(kept, self.problems + other.problems, self.absent + other.absent)

    def reasons(self) -> str:
        """Return how many samples are left out since they could not be judged, for a message."""
        if not self.problems:
            return ""
        shown = ", ".join(f"{count} {problem.format(name)}" for (name, problem), count in sorted(self.problems.items()))
        lacked = next((name for name, problem in sorted(self.problems) if problem == LACK), None)
        return f"; {shown} and are left out" + (f" (`or {lacked} is missing` keeps such samples)" if lacked else "")


def _examine(index: Index, where: Where, numbers: NDArray[np.int64]) -> _Found:
    found = _Found(np.zeros(len(numbers), np.bool_))
    for place, facts in enumerate(_facts(index, numbers.tolist())):
        lacking: Lacking = {}
        held = where.holds(facts, lacking)
        found.kept[place] = bool(held)
        found.absent.update(name for name, problem in lacking.items() if problem == LACK)
        if held is None:
            found.problems.update(lacking.items())
    return found


def _facts(index: Index, numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Yield the metadata of samples; of one that cannot be read, what its media show."""
    for number in numbers:
        shard, sample = index[number]
        facts: dict[str, Any] = {}
        try:
            members = index.read(shard, sample, _MEMBERS)
            facts = {**read_metadata(members), "caption": read_caption(members)}
        except SampleError:
            pass  # counts as lacking every field
        media = sample.media
        yield facts | ({} if media is None else {"media": {**asdict(media), "span": media.span}})


def _check_fields(index: Index, numbers: NDArray[np.int64], where: Where, found: _Found) -> None:
    """Raise if no sample holds a field that the condition compares: then it is misspelled."""
    absent = [name for name in where.fields if found.absent[name] == len(numbers)]
    if absent:
        some = _facts(index, numbers[:: max(len(numbers) // 100, 1)].tolist())
        known = list(dict.fromkeys(name for facts in some for name in field_names(facts)))
        shown = ", ".join(known[:40]) + (", …" if len(known) > 40 else "")
        raise UserError(
            f"position {where.fields[absent[0]]}: none of {counted(len(numbers), 'sample')} of {index.folder} holds "
            f"`{absent[0]}`; their fields are {shown}.",
            argument="where",
            suggestion=nearest(absent[0], known),
        )
