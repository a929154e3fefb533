"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import typer
from typer.core import TyperCommand

from mav_lightning.common.allowed import allow
from mav_lightning.common.configs import find_protocol
from mav_lightning.common.errors import UserError
from mav_lightning.common.output import OutputKind, check_output
from mav_lightning.common.schema import check
from mav_lightning.common.units import parse_memory

__all__ = [
    "Allow",
    "Overwrite",
    "SpreadOptions",
    "config_file",
    "existing",
    "memory_size",
    "network_folder",
    "output",
    "protocol_name",
    "within",
]


class SpreadOptions(TyperCommand):
    """Command with options that take all values up to the next option: ``--ask quality motion``, ``--files *.json``.

    Attributes:
        spread: Names of these options; each may also be repeated.
    """

    spread: ClassVar[tuple[str, ...]] = ()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each of its values, which is how Click reads several values."""
        found, option, given = list[str](), "", 0
        for word in args:
            if word.startswith("-"):
                option, given = (word if word in self.spread else ""), 0
            elif option:
                found, given = [*found, option] if given else found, given + 1
            found.append(word)
        return super().parse_args(ctx, found)


def _allowed(packages: list[str] | None) -> list[str]:
    """Let this process name the classes of the packages; see `mav_lightning.common.allowed`."""
    allow(packages or ())
    return packages or []


Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        callback=_allowed,
        help="Package of your own whose public classes configs and network folders may name; repeatable.",
        show_default=False,
    ),
]


Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", is_eager=True, help="Replace what an earlier run wrote to --out."),
]


def output(kind: OutputKind) -> Callable[[typer.Context, typer.CallbackParam, Path | None], Path | None]:
    """Return a Typer callback that checks an output path while the command line is parsed; see `check_output`.

    With --overwrite, which is parsed first, what exists may be replaced.
    """

    def checked(context: typer.Context, parameter: typer.CallbackParam, out: Path | None) -> Path | None:
        if out is None:
            return None
        replaced: dict[OutputKind, OutputKind] = {"new file": "file", "new folder": "folder"}
        wanted = replaced.get(kind, kind) if context.params.get("overwrite") else kind
        return check_output(out, wanted, parameter.name, replacing="--overwrite")

    return checked


def existing(
    kind: Literal["file", "folder", "file or folder"], way_out: str = "", holds: str | None = None
) -> Callable[[typer.CallbackParam, Any], Any]:
    """Return a Typer callback that checks that given paths exist, before anything heavy is imported.

    Args:
        kind: Required kind of the path.
        way_out: How to get such a file or folder, for the message.
        holds: Name of a file that the folder must hold. None if any folder will do.
    """
    suffices = {"file": Path.is_file, "folder": Path.is_dir, "file or folder": Path.exists}[kind]

    def problem(path: Path) -> str | None:
        if not suffices(path):
            if str(path).startswith("--"):
                return f"an option stands where a {kind} is expected"
            return f"is not a {kind}" if path.exists() else f"no such {kind}"
        return f"holds no `{holds}`" if holds and not (path / holds).is_file() else None

    def checked(parameter: typer.CallbackParam, given: Any) -> Any:
        for path in [given] if isinstance(given, Path) else given or ():
            if found := problem(path):
                option = (
                    parameter.name if parameter.param_type_name == "option" else None
                )  # an argument is its own name
                raise UserError(f"{path}: {found}{'; ' if way_out else ''}{way_out}.", argument=option)
        return given

    return checked


def within(hint: Any) -> Callable[[typer.CallbackParam, Any], Any]:
    """Return a Typer callback that checks a value against a type hint with a range, before anything heavy is imported.

    Args:
        hint: Type hint as `mav_lightning.common.schema.check` takes it, for example `PositiveInt`.
    """

    def checked(parameter: typer.CallbackParam, value: Any) -> Any:
        try:
            return value if value is None else check(value, hint, parameter.name or "")
        except UserError as error:
            message = str(error.message).partition(": ")[2]
            raise UserError(message, argument=parameter.name, suggestion=error.suggestion) from None

    return checked


def memory_size(parameter: typer.CallbackParam, size: str | None) -> str | None:
    """Check, as a Typer callback, that a text is a number of bytes with a unit."""
    if size is not None:
        parse_memory(size, parameter.name or "")
    return size


def config_file(name: str) -> str:
    """Check, as a Typer callback, that a config exists."""
    from mav_lightning.config import find_config

    find_config(name)
    return name


def protocol_name(name: str) -> str:
    """Check, as a Typer callback, that a protocol exists."""
    find_protocol(name)
    return name


network_folder = existing("folder", "train the stage with `mav train`", holds="network.json")
