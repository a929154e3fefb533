"""Time and memory of a training, summed over its restarts."""

import statistics
import time
from collections import deque
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn

from mav_lightning.common.machine import peak_rss_bytes
from mav_lightning.common.terminal import SafeLog
from mav_lightning.training.loop_clock import DATA_WAIT, LoopClock
from mav_lightning.training.step_callback import StepCallback

__all__ = ["Cost", "cuda_use"]

log = SafeLog(__name__)

RECENT_STEPS = 1001
SLOW_SHARE, SLOW_SECONDS = 0.1, 30.0  # of waiting for data, from which on a hint is worth reading


class Cost(StepCallback):
    """Measure time and memory. The sums are stored in checkpoints, so a resumed run adds to them.

    Work lost to an interruption is not included: it is the cost of the weights.

    Attributes:
        clock: The Trainer's profiler, which measures the wait for data. Not measured if the Trainer has another one.
    """

    def __init__(self) -> None:
        self.clock = LoopClock()
        self._seconds_before, self._wait_before = 0.0, 0.0
        self._peak_before, self._peak_cuda_before = 0, 0
        self._step_seconds: deque[float] = deque(maxlen=RECENT_STEPS)
        self._started: float | None = None
        self._step_started: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        super().on_train_start(trainer, pl_module)
        self._started = time.monotonic()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Start the clock of a step at its first batch."""
        if self._step_started is None:
            self._step_started = time.monotonic()

    def on_step_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock of a step."""
        if self._step_started is not None:
            self._step_seconds.append(time.monotonic() - self._step_started)
        self._step_started = None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock, and tell if data were slow."""
        self._seconds_before, self._started = self._seconds(), None
        if trainer.is_global_zero and (hint := self.slow_data()):
            log.warning("%s", hint)

    def slow_data(self) -> str | None:
        """Return a hint if more than a tenth of the time, and more than thirty seconds, were spent waiting for data."""
        wait, seconds = self._wait(), self._seconds()
        if wait < max(SLOW_SHARE * seconds, SLOW_SECONDS):
            return None
        return (
            f"waited {wait:.0f} s of {seconds:.0f} s for data; raise data.workers or data.cache_mb, or store smaller "
            "videos."
        )

    def summary(self, module: nn.Module, steps: int) -> dict[str, Any]:
        """Return the figures of ``cost.json``.

        Args:
            module: Trained module, whose parameters are counted.
            steps: Optimizer steps of the run.

        Returns:
            ``steps``; ``seconds`` in the training loop, validation and checkpoints included; ``data_wait_seconds`` of
            these, in which no training batch was ready; ``step_seconds``, the median of the last thousand steps from
            the batch's arrival to the optimizer's end; ``peak_rss_bytes`` of this process; ``parameters`` and
            ``trainable_parameters``; and the figures of `cuda_use` if the run used a CUDA device.
        """
        return {
            "steps": steps,
            "seconds": round(self._seconds(), 3),
            **({"data_wait_seconds": round(self._wait(), 3)} if self.clock.seconds else {}),
            "step_seconds": round(statistics.median(self._step_seconds), 6) if self._step_seconds else 0.0,
            "peak_rss_bytes": self._peak(),
            "parameters": sum(p.numel() for p in module.parameters()),
            "trainable_parameters": sum(p.numel() for p in module.parameters() if p.requires_grad),
            **self._cuda(),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the sums so far, for the checkpoint."""
        return {
            "seconds": self._seconds(),
            "wait": self._wait(),
            "peak": self._peak(),
            "peak_cuda": self._cuda().get("peak_cuda_bytes", 0),
            "step_seconds": list(self._step_seconds),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the sums of the checkpoint."""
        self._seconds_before, self._peak_before = state_dict["seconds"], state_dict["peak"]
        self._peak_cuda_before = state_dict.get("peak_cuda", 0)  # missing in older checkpoints
        self._wait_before = state_dict.get("wait", 0.0)  # missing in older checkpoints
        self._step_seconds.extend(state_dict["step_seconds"])

    def _seconds(self) -> float:
        running = 0.0 if self._started is None else time.monotonic() - self._started
        return self._seconds_before + running

    def _wait(self) -> float:
        return self._wait_before + self.clock.seconds.get(DATA_WAIT, 0.0)

    def _peak(self) -> int:
        return max(self._peak_before, peak_rss_bytes())

    def _cuda(self) -> dict[str, Any]:
        used = cuda_use()
        peak = max(self._peak_cuda_before, used.get("peak_cuda_bytes", 0))
        return used | {"peak_cuda_bytes": peak} if peak else {}


def cuda_use() -> dict[str, Any]:
    """Return the use of the CUDA device by this process; empty if it used none.

    Returns:
        ``device``, its name, and ``peak_cuda_bytes``, the peak memory held by tensors on it.
    """
    peak = torch.cuda.max_memory_allocated()  # 0, without initializing CUDA, if it was not used
    if not peak:
        return {}
    return {"device": torch.cuda.get_device_name(), "peak_cuda_bytes": peak}
