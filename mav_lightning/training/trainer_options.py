"""Arguments of `lightning.Trainer` in a run: which are set by the run itself, which defaults differ, which count."""

import inspect
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Trainer

from mav_lightning.common.errors import UserError, nearest
from mav_lightning.common.identity import HARMLESS
from mav_lightning.training.description import describe
from mav_lightning.training.validation import NEVER, Validation

__all__ = ["LOG_EVERY", "check_trainer_options", "trainer_identity", "validation_of", "with_trainer_defaults"]

LOG_EVERY = 10  # optimizer steps between two points of the curves

# Trainer arguments that the run sets itself → the argument of `fit` that controls them.
OWNED = {
    "max_steps": "steps",
    "min_steps": "steps",
    "max_epochs": "steps",
    "min_epochs": "steps",
    "default_root_dir": "out",
    "callbacks": "callbacks",
    "logger": "logger",
    "plugins": "checkpoint_every",
    "enable_checkpointing": "checkpoint_every",
}
_DEVICES = ("devices", "num_nodes")


def check_trainer_options(options: Mapping[str, Any]) -> None:
    """Reject arguments that cannot work, before anything is built.

    Args:
        options: Arguments of `lightning.Trainer` given by the caller.

    Raises:
        UserError: If an argument is unknown, is set by the run itself, or cannot work in a run.
    """
    if any(word in str(options.get("strategy")) for word in ("spawn", "fork", "notebook")):
        raise UserError(f"trainer.strategy={options['strategy']}: its processes cannot return results; use ddp.")
    if options.get("limit_train_batches") == 0:
        raise UserError("trainer.limit_train_batches=0: leaves nothing to train on; give 1 or more.")
    if not isinstance(options.get("val_check_interval"), int | float | None):
        raise UserError(
            "trainer.val_check_interval: must be a number of batches or a fraction of a pass; curves must not depend "
            f"on the speed of the machine; got {options['val_check_interval']!r}."
        )
    known = inspect.signature(Trainer).parameters
    for name in options:
        if name in OWNED:
            raise UserError(f"trainer.{name}: cannot be set here; set `fit.{OWNED[name]}` instead.")
        if name not in known:
            raise UserError(
                f"trainer.{name}: `lightning.Trainer` has no such argument.", suggestion=nearest(name, known)
            )


def with_trainer_defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Trainer arguments whose defaults differ from Lightning's, overridden by the caller's."""
    return {
        "deterministic": "warn",
        "devices": 1,  # each takes its own batch, so a result must not depend on how many a machine has
        "use_distributed_sampler": False,  # the readers divide the data among ranks themselves
        "enable_model_summary": False,
        "log_every_n_steps": LOG_EVERY,
        **options,
        # validation is a callback's; see `Validation`
        "check_val_every_n_epoch": None,
        "val_check_interval": NEVER,
    }


def validation_of(options: Mapping[str, Any], checkpoint_every: int) -> Validation:
    """Return the callback that validates as the Trainer's arguments ask.

    Args:
        options: Arguments of `lightning.Trainer` given by the caller.
        checkpoint_every: Optimizer steps between two validations if they ask for nothing else.
    """
    return Validation(checkpoint_every, options.get("val_check_interval"), options.get("check_val_every_n_epoch"))


def trainer_identity(trainer: Trainer, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Trainer's settings that change the numbers, and so must not change during a run.

    Args:
        trainer: The Trainer, which has resolved shorthands such as ``precision=16``.
        options: Its arguments as the caller gave them.
    """
    resolved = {
        "ranks": trainer.world_size,
        "precision": trainer.precision,
        "accumulate_grad_batches": trainer.accumulate_grad_batches,
        "gradient_clip_val": trainer.gradient_clip_val,
        "gradient_clip_algorithm": str(options.get("gradient_clip_algorithm") or "norm"),
    }
    known = inspect.signature(Trainer).parameters
    others = {
        name: describe(value)
        for name, value in options.items()
        if name not in (*resolved, *_DEVICES) and f"trainer.{name}" not in HARMLESS and value != known[name].default
    }
    return resolved | others
