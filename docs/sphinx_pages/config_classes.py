"""The config reference: the classes that configs may name, read from the signatures that configs are checked by."""

import collections.abc
import inspect
import re
import types
from collections.abc import Collection, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from docstring_parser import DocstringStyle, parse

from evaluation.discovery import known_kinds
from mav_lightning.common.errors import UserError
from mav_lightning.common.hints import describe
from mav_lightning.common.schema import parameters
from mav_lightning.config.targets import locate
from sphinx_pages.modules import PACKAGES, defined_names, public_modules

PLAIN = (bool, int, float, str, None, types.NoneType, Path, Any, inspect.Parameter.empty)


def nameable_classes() -> Iterator[tuple[str, type]]:
    """Yield the dotted name and the class of everything of this project that a config can describe.

    Abstract classes, and classes that need a tensor or another value that YAML cannot hold, are left out.
    """
    for module in public_modules():
        for name in defined_names(module):
            dotted = f"{module.__name__}.{name}"
            try:
                found = locate(dotted, "")
            except UserError:  # not for configs
                continue
            if not inspect.isabstract(found) and not getattr(found, "_is_protocol", False) and _can_be_described(found):
                yield dotted, found


def config_classes(package: str) -> str:
    """Return one section per class of a package that configs may name.

    Args:
        package: Dotted name; the classes of its subpackages are included.
    """
    found = [(name, kind) for name, kind in nameable_classes() if f"{name}.".startswith(f"{package}.")]
    return "\n\n".join(_section(name, kind) for name, kind in found)


def fields_of(words: str) -> str:
    """Return the list of arguments of a class or function.

    Args:
        words: Its dotted name; then, after the word ``without``, the names of arguments to leave out.
    """
    name, _, hidden = words.partition(" without ")
    return _arguments(_named(name), hidden.split())


def subclasses_of(name: str) -> str:
    """Return the names of the classes that configs may name for a contract, as links."""
    contract = _named(name)
    found = [kind.__name__ for _, kind in nameable_classes() if _is_subclass(kind, contract)]
    return ", ".join(f"`{one}`" for one in found)


def kinds_of(packages: str) -> str:
    """Return one item per metric or extractor: its kind, its class's summary and its arguments.

    Args:
        packages: Dotted names of the package and of the base class, separated by a space.
    """
    package, contract = packages.split()
    kinds = sorted(known_kinds(package, _named(contract)).items())
    return "\n\n".join(f"#### `kind: {kind}`\n\n{_summary(own)}\n\n{_arguments(own)}" for kind, own in kinds)


def _named(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


def _is_subclass(kind: type, contract: type) -> bool:
    if getattr(contract, "_is_protocol", False):  # a class that has the contract's methods
        return all(hasattr(kind, name) for name in vars(contract) if not name.startswith("_"))
    return issubclass(kind, contract)


def _section(name: str, kind: type) -> str:
    contracts = [f"`{base.__name__}`" for base in kind.__mro__[1:] if _is_ours(base) and base.__name__[0] != "_"]
    use = f" A kind of {', '.join(contracts)}." if contracts else ""
    return f"#### `{kind.__name__}`\n\n```yaml\n_target_: {name}\n```\n\n{_summary(kind)}{use}\n\n{_arguments(kind)}"


def _summary(kind: type) -> str:
    return _markdown(parse(inspect.getdoc(kind) or "", DocstringStyle.GOOGLE).short_description or "")


def _is_ours(kind: type) -> bool:
    return kind.__module__.split(".")[0] in PACKAGES


def _arguments(target: Any, hidden: Collection[str] = ()) -> str:
    texts = _texts(target)
    known = {name: parameter for name, parameter in parameters(target).items() if name not in hidden}
    if not known:
        return "No arguments."
    return "\n".join(_item(parameter, texts.get(name, "")) for name, parameter in known.items())


def _item(parameter: inspect.Parameter, text: str) -> str:
    if parameter.kind is inspect.Parameter.VAR_KEYWORD:
        return f"- `{parameter.name}`: {text or 'further arguments'}"
    expected = re.sub(r"builds an? (\w+)", r"builds a `\1`", describe(parameter.annotation))
    default = "required" if parameter.default is parameter.empty else f"default `{_yaml(parameter.default)}`"
    return f"- **`{parameter.name}`** ({expected}; {default}): {text}"


def _texts(target: Any) -> dict[str, str]:
    """Return argument → text of the docstrings of a class and its bases, on one line, as Markdown."""
    texts: dict[str, str] = {}
    for one in reversed(getattr(target, "__mro__", [target])):
        for parameter in parse(inspect.cleandoc(one.__doc__ or ""), DocstringStyle.GOOGLE).params:
            texts[parameter.arg_name] = _markdown(" ".join((parameter.description or "").split()))
    return texts


def _markdown(text: str) -> str:
    return re.sub(r":math:(`[^`]+`)", r"{math}\1", text)


def _yaml(value: Any) -> str:
    """Return a default as a config writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_yaml, value))}]"
    if repr(value) == "<factory>":  # of a dataclass; all of them here make empty lists and mappings
        return "empty"
    if isinstance(value, type) or callable(value):
        return getattr(value, "__name__", type(value).__name__)
    return str(value)


def _can_be_described(kind: type) -> bool:
    required = [
        one for one in parameters(kind).values() if one.default is one.empty and one.kind is not one.VAR_KEYWORD
    ]
    return all(map(_is_writable, (one.annotation for one in required)))


def _is_writable(hint: Any) -> bool:
    """Return whether YAML can hold a value of a type."""
    origin, args = get_origin(hint), get_args(hint)
    if any(hint is one for one in PLAIN) or origin in (collections.abc.Callable,) or "Literal" in str(origin):
        return True
    if origin in (Union, types.UnionType):
        return any(map(_is_writable, args))
    if args:
        return all(_is_writable(one) for one in args[:1])
    return isinstance(hint, type) and hint.__module__.split(".")[0] in (*PACKAGES, "lightning", "builtins")
