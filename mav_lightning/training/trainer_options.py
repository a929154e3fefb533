"""Arguments of `lightning.Trainer` in a run: which are set by the run itself, which defaults differ, which count."""

import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import Ge, Gt, Le
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer

from mav_lightning.common.errors import UserError, nearest
from mav_lightning.common.identity import HARMLESS
from mav_lightning.common.schema import Fraction, NonNegativeFloat, NonNegativeInt, PositiveInt, check
from mav_lightning.training.description import describe
from mav_lightning.training.fsdp2 import FSDP2, FSDP2_NAME
from mav_lightning.training.validation import NEVER, Validation

__all__ = [
    "LOG_EVERY",
    "check_on_device",
    "check_trainer_options",
    "lightning_accepts",
    "trainer_identity",
    "validation_of",
    "with_trainer_defaults",
]

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

# Types of arguments that Lightning takes unchecked, and that then fail within the training or do something else.
_TYPES = {
    "accumulate_grad_batches": PositiveInt,
    "check_val_every_n_epoch": PositiveInt,
    "deterministic": bool | Literal["warn"],
    "enable_progress_bar": bool,
    "fast_dev_run": bool | NonNegativeInt,
    "gradient_clip_val": NonNegativeFloat,
    "gradient_clip_algorithm": Literal["norm", "value"],
    "limit_val_batches": NonNegativeInt | Fraction,
    "log_every_n_steps": NonNegativeInt,
    "num_nodes": PositiveInt,
    "num_sanity_val_steps": Annotated[int, Ge(-1)],
    "val_check_interval": PositiveInt | Annotated[float, Gt(0), Le(1)],
}


class _Refusal(NamedTuple):
    """An argument that cannot work in a run: when, why, and what to do instead."""

    name: str
    when: Callable[[Any], bool]
    why: str


def _strategy(*words: str) -> Callable[[Any], bool]:
    """Return a test whether a strategy, given by name or as an object, is one of those named."""

    def test(value: Any) -> bool:
        name = value if isinstance(value, str) else f"{type(value).__name__} {getattr(value, '_start_method', '')}"
        return any(word in name.lower() for word in words)

    return test


def _is_fsdp2(value: Any) -> bool:
    return value == FSDP2_NAME or isinstance(value, FSDP2)


def _partial(value: Any) -> bool:
    return not (type(value) is float and value == 1.0)


_NO_PASSES = "a training reads on where it was and never begins a pass anew, so the same batches would not come again; "
_REFUSED = (
    _Refusal("strategy", _strategy("spawn", "fork", "notebook"), "its processes cannot return results; use ddp."),
    _Refusal(
        "strategy",
        lambda value: not _is_fsdp2(value) and _strategy("fsdp", "deepspeed", "model_parallel", "modelparallel")(value),
        "cannot be resumed exactly, with its average; use fsdp2, which divides the weights among processes as well, or "
        "ddp.",
    ),
    _Refusal("strategy", _strategy("xla"), "TPUs are not supported; use ddp on GPUs, or a CPU."),
    _Refusal("accelerator", lambda value: value == "tpu", "TPUs are not supported; use gpu or cpu."),
    _Refusal(
        "precision",
        lambda value: str(value) in ("bf16-true", "16-true", "transformer-engine", "transformer-engine-float16"),
        "it keeps the weights in less than 32 bits, in which small updates are rounded away; use bf16-mixed, which "
        "computes in 16 bits and keeps weights, optimizer and average in 32.",
    ),
    _Refusal(
        "precision",
        lambda value: str(value) in ("64", "64-true"),
        "batches and the average of the weights are in 32 bits; use 32-true.",
    ),
    _Refusal(
        "barebones",
        bool,
        "it turns off checkpoints, curves and the checks of gradients, without which a run cannot be resumed; leave it "
        "out. For less output, set trainer.enable_progress_bar=false and fit.logger=false.",
    ),
    _Refusal("limit_train_batches", lambda value: value == 0, "leaves nothing to train on; set fit.steps instead."),
    _Refusal("limit_train_batches", _partial, f"{_NO_PASSES}set fit.steps for a shorter run."),
    _Refusal(
        "overfit_batches", bool, f"{_NO_PASSES}to overfit, train on a data folder with few samples (`mav data pack`)."
    ),
    _Refusal(
        "reload_dataloaders_every_n_epochs",
        bool,
        "the data would begin anew after each pass, and a resumed run at another sample; leave it out.",
    ),
    _Refusal("limit_test_batches", _partial, "a training tests nothing; leave it out."),
    _Refusal("limit_predict_batches", _partial, "a training predicts nothing; leave it out."),
)


def check_trainer_options(options: Mapping[str, Any]) -> None:
    """Reject arguments that can work on no machine, before anything is built.

    Args:
        options: Arguments of `lightning.Trainer` given by the caller. None stands for Lightning's default.

    Raises:
        UserError: If an argument is unknown, is set by the run itself, has a wrong type, or cannot work in a run.
    """
    known = inspect.signature(Trainer).parameters
    for name, value in options.items():
        if name in OWNED:
            raise UserError(f"trainer.{name}: cannot be set here; set `fit.{OWNED[name]}` instead.")
        if name not in known:
            raise UserError(
                f"trainer.{name}: `lightning.Trainer` has no such argument.", suggestion=nearest(name, known)
            )
        if value is None:
            continue
        if refused := next((one for one in _REFUSED if one.name == name and one.when(value)), None):
            shown = value if isinstance(value, bool | int | float | str) else type(value).__name__
            raise UserError(f"trainer.{name}={shown}: {refused.why}")
        if name in _TYPES:
            check(value, _TYPES[name], f"trainer.{name}")
    if options.get("gradient_clip_algorithm") is not None and not options.get("gradient_clip_val"):
        raise UserError("trainer.gradient_clip_algorithm: clips nothing without trainer.gradient_clip_val; set both.")
    if options.get("val_check_interval") is not None and (options.get("check_val_every_n_epoch") or 1) != 1:
        raise UserError(
            "trainer.check_val_every_n_epoch: has no effect next to trainer.val_check_interval; set one of them."
        )


@contextmanager
def lightning_accepts(options: Mapping[str, Any]) -> Iterator[None]:
    """Raise what `lightning.Trainer` rejects, on this machine, as `UserError`.

    Args:
        options: Arguments given by the caller, for the message.

    Raises:
        UserError: With the arguments and Lightning's reason.
    """
    try:
        yield
    except (MisconfigurationException, ImportError, TypeError, ValueError) as error:
        given = ", ".join(f"{name}={value}" for name, value in options.items())
        reason = (str(error).strip().splitlines() or [repr(error)])[0]
        raise UserError(f"trainer: Lightning rejects {given or 'its defaults'}: {reason}") from error


def check_on_device(trainer: Trainer, options: Mapping[str, Any]) -> None:
    """Reject arguments that cannot work on the device that a Trainer has chosen.

    Args:
        trainer: The Trainer.
        options: Arguments of the Trainer as the caller gave them.

    Raises:
        UserError: If several machines are requested of a process that nothing connects with them, or float16 on a CPU,
            where Lightning would compute in bfloat16 instead, or with FSDP2, whose shards its scaler of losses does not
            know.
    """
    if str(options.get("precision")) in ("16", "16-mixed") and trainer.strategy.root_device.type == "cpu":
        raise UserError(f"trainer.precision={options['precision']}: needs a GPU; on a CPU use bf16-mixed or 32-true.")
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if trainer.num_nodes > 1 and isinstance(environment, LightningEnvironment) and "MASTER_ADDR" not in os.environ:
        raise UserError(
            f"trainer.num_nodes={trainer.num_nodes}: the other machines cannot find this one, so it would wait in "
            "vain; start the training on each with torchrun or SLURM, or set MASTER_ADDR and NODE_RANK there."
        )
    if trainer.precision == "16-mixed" and isinstance(trainer.strategy, FSDP2):
        raise UserError(
            f"trainer.precision={options['precision']}: does not work with strategy={FSDP2_NAME}; use bf16-mixed."
        )


def with_trainer_defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Trainer arguments whose defaults differ from Lightning's, overridden by the caller's."""
    return {
        "deterministic": "warn",
        "devices": 1,  # each takes its own batch, so a result must not depend on how many a machine has
        "use_distributed_sampler": False,  # the readers divide the data among ranks themselves
        "enable_model_summary": False,
        "log_every_n_steps": LOG_EVERY,
        # gathered weights that are first allocated in inference mode cannot be trained
        **({"inference_mode": False} if _is_fsdp2(options.get("strategy")) else {}),
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
        options: Arguments of the Trainer as the caller gave them.
    """
    resolved = {
        "ranks": trainer.world_size,
        "precision": trainer.precision,
        "accumulate_grad_batches": trainer.accumulate_grad_batches,
        "gradient_clip_val": trainer.gradient_clip_val,
        "gradient_clip_algorithm": str(options.get("gradient_clip_algorithm") or "norm"),
    }
    if isinstance(trainer.strategy, FSDP2):  # other strategies give the same bits
        resolved["strategy"] = FSDP2_NAME
    known = inspect.signature(Trainer).parameters
    others = {
        name: describe(value)
        for name, value in options.items()
        if name not in (*resolved, *_DEVICES) and f"trainer.{name}" not in HARMLESS and value != known[name].default
    }
    return resolved | others
