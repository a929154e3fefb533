"""The trunk of a stage's config: the keys that all stages share, with their types."""

from dataclasses import dataclass, field
from typing import Any, Literal

from mav_lightning.common.schema import PositiveInt, Seed

__all__ = ["SECTIONS", "Kind", "Trunk"]

Kind = Literal["data", "train", "pipeline", "sample", "score"]

# Key that holds a node → the class that the node must build.
SECTIONS = {
    "task": "mav_lightning.common.task.Task",
    "data": "lightning.pytorch.LightningDataModule",
    "module": "lightning.pytorch.LightningModule",
}


@dataclass
class Trunk:
    """The keys of a stage's config; keys that stay None are left out of the resolved config.

    Attributes:
        name: Name of the stage and of its folder; not part of its identity.
        kind: Kind of work: data, train, pipeline, sample or score.
        needs: Role → folder of the needed stage. ``"@role"`` stands for the folder until it is known.
        seed: Seed of data order, initial weights and noise. None in stages without randomness of their own.
        size: Side of the square frames, in pixels. None where no frames are involved.
        frames: Frames of a clip. None where no clips are involved.
        task: Node of the `Task` of stages other than trainings, and of trainings in closed form.
        data: Node of the LightningDataModule of a training.
        module: Node of the LightningModule of a training.
        fit: Arguments of `mav_lightning.training.fit.fit` for a training.
        trainer: Arguments of `lightning.Trainer` for a training.
        protocol: For scores and baselines: a name in ``conf/protocol``, replaced by the content of that file.
    """

    name: str
    kind: Kind
    needs: dict[str, str] = field(default_factory=dict)
    seed: Seed | None = None
    size: PositiveInt | None = None
    frames: PositiveInt | None = None
    task: Any = None
    data: Any = None
    module: Any = None
    fit: dict[str, Any] | None = None
    trainer: dict[str, Any] | None = None
    protocol: dict[str, Any] | None = None
