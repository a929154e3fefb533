"""The command reference, from the Typer application itself."""

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from mav_lightning.cli.app import command_line

KINDS = {bool: "", int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH"}


def commands(command: Any, name: str = "mav") -> Iterator[tuple[str, Any]]:
    """Yield the name and command of everything that is not hidden; groups before their commands."""
    yield name, command
    for word, subcommand in getattr(command, "commands", {}).items():
        if not subcommand.hidden:
            yield from commands(subcommand, f"{name} {word}")


def command_reference(_: str = "") -> str:
    """Return one section per command: usage, description, examples, arguments and options."""
    return "\n\n".join(_section(name, command) for name, command in commands(command_line()) if name != "mav")


def _section(name: str, command: Any) -> str:
    parts = [f"({name.replace(' ', '-')})=\n\n{'#' * len(name.split())} `{name}`"]
    if hasattr(command, "commands"):
        names = ", ".join(f"`{name} {word}`" for word in command.commands)
        return "\n\n".join([*parts, _description(command.help or ""), f"Commands: {names}."])
    hints = get_type_hints(command.callback)
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option"]
    usage = " ".join([name, *map(_placeholder, arguments), *(["[OPTIONS]"] if options else [])])
    items = [*map(_argument, arguments), *(_option(one, hints[one.name]) for one in options)]
    return "\n\n".join([*parts, f"```text\n{usage}\n```", _description(command.help or ""), "\n".join(items)])


def _description(text: str) -> str:
    """Return a help text as Markdown: its lines that begin with ``mav`` are examples."""
    lines = [line.strip(" \b") for line in text.split("\n")]
    lines = [line for line in lines if line and line != "Examples:"]
    prose = [line for line in lines if not _example(line)]
    examples = [one for one in map(_example, lines) if one]
    block = "```bash\n" + "\n".join(examples) + "\n```"
    return "\n\n".join([*(line.removesuffix(" Examples:") for line in prose), *([block] if examples else [])])


def _example(line: str) -> str | None:
    command = line.removeprefix("Example: ")
    return command if command.startswith("mav ") else None


def _placeholder(argument: Any) -> str:
    name = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _argument(argument: Any) -> str:
    return f"- `{_placeholder(argument)}`: {_escaped(argument.help)}"


def _option(option: Any, hint: Any) -> str:
    names = ", ".join(f"`{one}`" for one in [*option.opts, *option.secondary_opts])
    kind = option.metavar or _kind(hint)
    notes = [
        f"at least {option.min}" if getattr(option, "min", None) is not None else "",
        f"at most {option.max}" if getattr(option, "max", None) is not None else "",
        "required" if option.required else "",
        "" if option.default in (None, False, (), []) else f"default `{option.default}`",
    ]
    note = "; ".join(one for one in notes if one)
    return f"- {names}{f' `{kind}`' if kind else ''}{f' ({note})' if note else ''}: {_escaped(option.help)}"


def _kind(hint: Any) -> str:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType, list, tuple):
        return next(_kind(one) for one in args if one is not types.NoneType)
    if origin is Literal:
        return "|".join(map(str, args))
    return KINDS[hint]


def _escaped(text: str | None) -> str:
    return (text or "").replace("<", "\\<").replace("*", "\\*")
