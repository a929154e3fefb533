"""A Lightning logger of one's own: one line of JSON per call, in a file."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

__all__ = ["LineLogger"]


class LineLogger(Logger):
    """Appends metrics to a file.

    Args:
        file: The file.
    """

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = Path(file)

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return "lines"

    @property
    def version(self) -> str:
        """Version of the experiment."""
        return "0"

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Ignore hyper-parameters."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append one line."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")
