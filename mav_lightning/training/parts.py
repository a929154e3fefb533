"""Checks of what a training is made of, before it begins: classes that cannot be trained or resumed."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, LightningDataModule, LightningModule
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder, ModelPruning
from lightning.pytorch.loggers import Logger
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from mav_lightning.common.errors import UserError
from mav_lightning.training.description import configured

__all__ = ["can_be_trained", "check_parts"]

_FINDS = (
    "finds a setting anew at every start, so a resumed run would go on with another; find it with Lightning's Tuner"
)
_REFUSED: dict[type[Callback], str] = {
    LearningRateFinder: f"{_FINDS} first, and set it.",
    BatchSizeFinder: f"{_FINDS} first, and set it.",
    ModelPruning: "renames the weights that it prunes, so no checkpoint could be resumed; prune the trained network.",
}


def check_parts(module: Any, data: Any, callbacks: Iterable[Any], logger: Any, own: Iterable[Callback]) -> None:
    """Reject a module, data module, callbacks or loggers that no training can use, or none could be resumed with.

    Args:
        module: Module to train, as the caller gave it.
        data: Data module, as the caller gave it.
        callbacks: Callbacks that the caller gave.
        logger: A logger, its name, whether there is one, or a list of these.
        own: Callbacks of the run itself.

    Raises:
        UserError: If one is of a wrong class, the module has layers without shapes, a state dict that holds more than
            tensors, or several optimizers in automatic optimization, or a callback cannot work in a run.
    """
    _check_class(module, LightningModule, "module", "give it a training_step and configure_optimizers in one")
    _check_class(data, LightningDataModule, "data", "return loaders from the train_dataloader of one")
    for callback in callbacks:
        _check_class(callback, Callback, "callbacks", "give instances of subclasses")
        if why := next((why for kind, why in _REFUSED.items() if isinstance(callback, kind)), None):
            raise UserError(f"{type(callback).__name__} {why}", argument="callbacks")
    for one in logger if isinstance(logger, list | tuple) else [logger]:
        _check_class(one, (Logger, str, bool), "logger", "give one of Lightning's, a subclass, or a name")
    _check_names([*callbacks, *own])
    _check_state(module)
    optimizers = configured(module, Optimizer)
    if len(optimizers) > 1 and module.automatic_optimization:
        raise UserError(
            f"configures {len(optimizers)} optimizers, which Lightning steps only by hand; set "
            "self.automatic_optimization = False, and step each in training_step.",
            argument="module",
        )


@contextmanager
def can_be_trained() -> Iterator[None]:
    """Raise what Lightning rejects of a module or its data, within the block, as `UserError`.

    Raises:
        UserError: With Lightning's reason.
    """
    try:
        yield
    except MisconfigurationException as error:
        raise UserError(f"Lightning cannot train this: {' '.join(str(error).split())}") from error


def _check_class(value: Any, kinds: type | tuple[type, ...], argument: str, way_out: str) -> None:
    if isinstance(value, kinds):
        return
    kind = kinds if isinstance(kinds, type) else kinds[0]
    found = f"the class {value.__name__} itself" if isinstance(value, type) else f"a {type(value).__name__}"
    raise UserError(f"must be a {kind.__name__}, got {found}; {way_out}.", argument=argument)


def _check_names(callbacks: Iterable[Callback]) -> None:
    """Reject callbacks whose states would have the same name in a checkpoint."""
    stateful = [one for one in callbacks if type(one).state_dict is not Callback.state_dict]
    name, count = Counter(one.state_key for one in stateful).most_common(1)[0]
    if count > 1:
        raise UserError(
            f"{count} have the name `{name}` in a checkpoint, where a run may have one of its own; rename the class, "
            "or give it another `state_key`.",
            argument="callbacks",
        )


def _check_state(module: LightningModule) -> None:
    if lazy := [name for name, weight in module.named_parameters() if is_lazy(weight)]:
        raise UserError(
            f"`{lazy[0]}` has no shape yet; pass one batch through the module first, or build the layer with its "
            "number of inputs.",
            argument="module",
        )
    other = {name: value for name, value in module.state_dict().items() if not isinstance(value, Tensor)}
    for name, value in other.items():
        raise UserError(
            f"`{name}` of its state dict is a {type(value).__name__}, and weights hold tensors only; keep it in a "
            "buffer (`register_buffer`), or save it in on_save_checkpoint.",
            argument="module",
        )
