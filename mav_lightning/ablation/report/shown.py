"""What the tables of a report show: columns and metrics without any value are left out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from mav_lightning.common import units

__all__ = ["CostColumn", "cost_columns", "shown"]

_OPTIONAL = ("interval", "effect", "p_holm", "t_holm")  # columns of a comparison that need enough seeds


class CostColumn(NamedTuple):
    """A column of a cost table.

    Attributes:
        key: Key of the rows.
        head: Heading.
        show: Formats a value; None as a dash.
    """

    key: str
    head: str
    show: Callable[[float | None], str]


_COSTS = (
    CostColumn("parameters", "parameters", units.count),
    CostColumn("steps", "steps", units.count),
    CostColumn("flops", "training FLOPs", units.operations),
    CostColumn("step_seconds", "time per step", units.duration),
    CostColumn("seconds", "time", units.duration),
    CostColumn("peak_rss_bytes", "peak memory", units.memory),
    CostColumn("peak_cuda_bytes", "peak GPU memory", units.memory),
)


def shown(groups: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a table of metrics shows.

    Args:
        groups: Rows by metric, as `gather_facts` returns them.

    Returns:
        ``groups`` (those with a value), ``columns`` (optional columns of the comparisons that have a value) and
        ``missing`` (names of the metrics without a value in any trial).
    """
    compared = [row["comparison"] for group in groups for row in group["rows"] if row["comparison"]]
    return {
        "groups": [group for group in groups if group["known"]],
        "columns": [key for key in _OPTIONAL if any(one[key] is not None for one in compared)],
        "missing": [group["metric"] for group in groups if not group["known"]],
    }


def cost_columns(rows: Sequence[Mapping[str, Any]]) -> list[CostColumn]:
    """Return the columns of a cost table in which some row has a value."""
    return [column for column in _COSTS if any(row[column.key] is not None for row in rows)]
