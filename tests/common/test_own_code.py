"""The hash of code follows what it computes, and nothing else."""

import functools
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mav_lightning.common.own_code import base_names, code_sha256, is_own, raised_at
from mav_lightning.nn.unet import SpaceTimeUNet

SOURCE = '''
import functools
from argparse import Namespace
import his_helpers
from his_helpers import scaled

GAIN = 2.0
ARGUMENTS = Namespace(bias=1.0, workers=2)
SIZES = {"hidden": 8}
SEEN = []

def noted(function):
    @functools.wraps(function)
    def call(*args):
        return function(*args)
    return call

class Base:
    rate = 0.5

    def forward(self, x):
        return scaled(x) * self.rate

class Net(Base):
    def __init__(self, width=4, *, options=("a",), more=[1]):
        self.width = width + SIZES["hidden"]

    @property
    def gain(self):
        return GAIN + ARGUMENTS.bias

    @staticmethod
    def inner(x):
        return [y + 1 for y in x]

    @noted
    def loss(self, x):
        """Say nothing."""
        SEEN.append(x)
        return his_helpers.shifted(x)  # a comment

def unused():
    return 1
'''
HELPERS = """
def scaled(x):
    return x * 3

def shifted(x):
    return x + OFFSET

def unused():
    return 2

OFFSET = 1
"""


@pytest.fixture
def code_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Hash the class `Net` of a module and its helpers, with a text replaced in either."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def hashed(old: str = "", new: str = "") -> str:
        for name, text in (("his_nets", SOURCE), ("his_helpers", HELPERS)):
            (tmp_path / f"{name}.py").write_text(text.replace(old, new) if old else text)
            monkeypatch.delitem(sys.modules, name, raising=False)
        importlib.invalidate_caches()
        found = code_sha256(importlib.import_module("his_nets").Net)
        assert found is not None and len(found) == 64
        return found

    return hashed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("return x * 3", "return x * 4"),
        ("return x + OFFSET", "return x - OFFSET"),
        ("OFFSET = 1", "OFFSET = 2"),
        ("GAIN = 2.0", "GAIN = 2.5"),
        ('"hidden": 8', '"hidden": 9'),
        ("rate = 0.5", "rate = 0.25"),
        ("* self.rate", "/ self.rate"),
        ("width=4", "width=5"),
        ('options=("a",)', 'options=("b",)'),
        ("more=[1]", "more=[2]"),
        ("y + 1", "y + 2"),
        ("bias=1.0", "bias=2.0"),
        ("class Net(Base)", "class Net"),
        ("his_helpers.shifted", "his_helpers.scaled"),
    ],
)
def test_another_computation_is_another_hash(old: str, new: str, code_of: Callable[..., str]) -> None:
    assert code_of(old, new) != code_of()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# a comment", "# another"),
        ("Say nothing.", "Say more."),
        ("\ndef unused", "\n\n\ndef other"),
        ("return 1", "return 5"),
        ("return 2", "return 6"),
        ("workers=2", "workers=4"),
        ("SEEN = []", "SEEN = [1]"),
    ],
)
def test_what_computes_nothing_does_not_count(old: str, new: str, code_of: Callable[..., str]) -> None:
    assert code_of(old, new) == code_of()


def test_lambdas_closures_and_partials_count_by_what_they_hold() -> None:
    def decay(rate: float) -> Callable[[int], float]:
        return lambda step: rate**step

    assert code_sha256(decay(0.5)) == code_sha256(decay(0.5)) != code_sha256(decay(0.9))
    assert code_sha256(lambda step: 0.5**step) != code_sha256(lambda step: 0.9**step)

    def held(rate: float) -> Callable[[], Any]:
        made = functools.partial(decay, rate)
        return lambda: made

    assert code_sha256(held(0.5)) != code_sha256(held(0.9))


def test_code_without_a_file_counts_as_in_a_notebook() -> None:
    def typed(text: str) -> Any:
        space: dict[str, Any] = {"__name__": "__main__"}
        exec(text, space)
        return space["f"]

    assert code_sha256(typed("def f(x): return x + 1")) != code_sha256(typed("def f(x): return x + 2"))
    assert code_sha256(typed("def f(x): return x + 1")) == code_sha256(typed("def f(x):\n  return x + 1"))


def test_functions_that_call_each_other_end() -> None:
    def even(n: int) -> bool:
        return n == 0 or odd(n - 1)

    def odd(n: int) -> bool:
        return n != 0 and even(n - 1)

    assert code_sha256(even) != code_sha256(odd)


@pytest.mark.parametrize("other", [torch.nn.Linear, SpaceTimeUNet, Path, len, torch.relu, functools.partial(len)])
def test_code_of_others_has_no_hash(other: Any) -> None:
    assert code_sha256(other) is None and not is_own(other)


def test_what_bases_use_is_known() -> None:
    class Own(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self._rate = 0.5

    names = base_names(Own)
    assert {*vars(torch.nn.Module())} <= names and "_rate" not in names


def test_an_error_is_placed() -> None:
    try:
        _ = [][0]
    except IndexError as error:
        assert raised_at(error).startswith(f"IndexError: list index out of range ({__file__}, line ")
