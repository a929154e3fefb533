"""Plain values are checked against type hints, strictly and with the path, the value and the nearest valid one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import (
    Fraction,
    PositiveFloat,
    PositiveInt,
    Seed,
    build,
    check,
    check_call,
    read_json,
)


@dataclass(frozen=True)
class Budget:
    steps: PositiveInt
    unit: Literal["steps", "samples"] = "steps"


@dataclass(frozen=True)
class Plan:
    budget: Budget
    rates: tuple[float, ...] = (8.0,)
    extra: Mapping[str, int] = field(default_factory=dict)


def network(channels: PositiveInt, temporal_attention: bool = True, attention: Sequence[int] = (1,)) -> None: ...


@pytest.mark.parametrize(
    ("value", "hint", "result"),
    [
        (3, PositiveInt, 3),
        (3, float, 3),
        ([1, 2], tuple[int, ...], (1, 2)),
        ([1, "a"], tuple[int, str], (1, "a")),
        (None, int | None, None),
        ("runs/a", Path, Path("runs/a")),
        ("off", Literal["off", "seconds"], "off"),
        ({"steps": 5}, Budget | None, Budget(5)),
        ({"a": {"b": [1.5]}}, Any, {"a": {"b": [1.5]}}),
    ],
)
def test_values_that_fit_come_back_as_the_declared_type(value: Any, hint: Any, result: Any) -> None:
    assert check(value, hint, "x") == result


@pytest.mark.parametrize(
    ("value", "hint", "message"),
    [
        ("None", bool, "x: must be true or false, got 'None'. Did you mean `false`?"),
        ("false", bool, "x: must be true or false, got 'false'. Did you mean `false`?"),
        ("None", int | None, "x: must be a whole number or null, got 'None'. Did you mean `null`?"),
        (True, int, "x: must be a whole number, got True."),
        (1, bool, "x: must be true or false, got 1. Did you mean `true`?"),
        (0, PositiveInt, "x: must be a whole number above 0, got 0. Did you mean `1`?"),
        (-3, Seed, "x: must be a whole number ≥ 0 and ≤ 9223372036854775807, got -3. Did you mean `0`?"),
        (1.5, Fraction, "x: must be a finite number ≥ 0 and ≤ 1, got 1.5. Did you mean `1`?"),
        (0, PositiveFloat, "x: must be a finite number above 0, got 0."),
        (float("nan"), float, "x: must be a finite number, got nan."),
        (10**400, float, "x: must be a finite number, got 1000"),
        ("1e-3", float, "x: must be a finite number, got '1e-3'. Did you mean `0.001`?"),
        ("8", int, "x: must be a whole number, got '8'. Did you mean `8`?"),
        (2.0, int, "x: must be a whole number, got 2.0."),
        ("second", Literal["off", "seconds"], "x: must be one of `off`, `seconds`, got 'second'. Did you mean `se"),
        ([1, 2, "x"], Sequence[int], "x.2: must be a whole number, got 'x'."),
        ("abc", Sequence[str], "x: must be a list, each item text, got 'abc'."),
        ([1], tuple[int, int], "x: must be a list of 2 items"),
        ({"a": {"b": float("inf")}}, Any, "x.a.b: must be a finite number, got inf."),
        ({"steps": 0}, Budget | None, "x.steps: must be a whole number above 0, got 0."),
        ({"step": 5}, Budget, "x.step: `Budget` has no argument `step`; it takes steps, unit. Did you mean `steps`?"),
        ({}, Budget, "x.steps: is missing; `Budget` needs it."),
        ({"budget": {"steps": 1}, "extra": {"a": "b"}}, Plan, "x.extra.a: must be a whole number, got 'b'."),
        ([], Budget, "x: must be"),
        (5, Path, "x: must be a path, got 5."),
        (3, Callable[[int], int], "x: must be a"),
    ],
)
def test_values_that_do_not_fit_are_named_with_what_is_expected(value: Any, hint: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        check(value, hint, "x")
    assert str(caught.value).startswith(message)
    assert str(caught.value).count("Did you mean") <= 1


def test_nested_dataclasses_are_built_from_mappings() -> None:
    assert build(Plan, {"budget": {"steps": 2}, "rates": [4, 8]}, "plan") == Plan(Budget(2), (4, 8))


def test_a_call_is_checked_without_calling() -> None:
    assert check_call(network, {"channels": 8, "attention": [2]}, "net", partial=False) == {
        "channels": 8,
        "attention": [2],
    }
    with pytest.raises(UserError, match=r"net.channels: is missing; `network` needs it."):
        check_call(network, {}, "net", partial=False)
    assert check_call(network, {}, "net", partial=True) == {}


def test_the_default_is_suggested_where_nothing_is_near() -> None:
    with pytest.raises(UserError, match=r"got 'maybe'. Did you mean `true`\?"):
        check_call(network, {"channels": 8, "temporal_attention": "maybe"}, "net", partial=False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"steps": "5"}', "steps: must be a whole number above 0|steps: must be a whole number"),
        ('{"steps": NaN}', "must be a whole number"),
        ('{"steps": 5, "name": "a", "steps": 6}', r"not valid JSON \(`steps` twice in one object\)"),
        ("[]", "must be"),
        ("null", "must be"),
    ],
)
def test_json_from_disk_that_does_not_fit_is_one_message_naming_the_file(
    tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "budget.json"
    file.write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        read_json(file, Budget)
    assert str(caught.value).startswith(str(file))


def test_a_missing_json_file_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file; run the study first"):
        read_json(tmp_path / "a.json", Budget, missing="run the study first")


def test_an_error_keeps_its_fields_when_it_crosses_a_process_boundary() -> None:
    import pickle

    with pytest.raises(UserError) as caught:
        check("None", bool, "x")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.suggestion, copy.path) == (str(caught.value), "false", "x")
