"""Check that a training computes the same bits when it is run twice."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mav_lightning.runs.execute import run_training

if TYPE_CHECKING:
    from mav_lightning.training.tensor_trace import TracedTensor

__all__ = ["check_determinism"]


def check_determinism(
    config: Mapping[str, Any], needs: Mapping[str, Path] = MappingProxyType({})
) -> "tuple[TracedTensor | None, int]":
    """Run a training twice in temporary folders, and compare every tensor.

    Args:
        config: Resolved config of a stage of kind train, with the number of steps to compare in ``fit.steps``.
        needs: Role → folder of the needed stage.

    Returns:
        The first tensor that differs, or None, and the number of tensors compared.

    Raises:
        UserError: If the training cannot be run, see `run_training`.
    """
    from mav_lightning.training.tensor_trace import TensorTrace, first_mismatch

    traces = [TensorTrace(), TensorTrace()]
    with tempfile.TemporaryDirectory() as folder:
        for number, trace in enumerate(traces):
            run_training(config, Path(folder, f"run{number}"), [trace], needs=needs)
    return first_mismatch(traces[0].seen, traces[1].seen), min(len(trace.seen) for trace in traces)
