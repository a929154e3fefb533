"""The language of conditions: what is true, what is open, and what is rejected where."""

import pickle

import pytest

from datamodules.where import LACK, Where
from mav_lightning.common.errors import UserError

FACTS = {
    "pwatermark": 0.25, "NSFW": "UNLIKELY", "width": 512, "safe": True, "tags": ["cat", "dog"], "license": None,
    "rate": float("nan"), "info": {"views": 7, "title": "a cat"}, "caption": "a red circle",
    "matching": "0.4538574", "motion score": 3.5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pwatermark <= 0.5", True),
        ("0.3 < pwatermark <= 0.5", False),
        ("pwatermark != -1 and width >= 512", True),
        ("NSFW in ('UNLIKELY', 'UNSURE')", True),
        ("NSFW not in ['UNLIKELY']", False),
        ("'red' in caption and 'blue' not in caption", True),
        ("'cat' in tags", True),
        ("info.views > 6 and info.title == 'a cat'", True),
        ("not (width < 64 or pwatermark > 0.5)", True),
        ("matching > 0.43 and 0.4 < matching and matching != 0.5", True),
        ("width == '512'", True),
        ("json['motion score'] > 3", True),
        ("json['no score'] is missing", True),
        ("safe", True),
        ("not safe", False),
        ("safe == true", True),
        ("license is missing and rate is missing and info.none is missing", True),
        ("width is not missing", True),
        ("width > pwatermark", True),
        ("  width\n  > 5", True),
        # a field that is missing leaves a comparison open, and what it does not decide is decided
        ("license == 'CC'", None),
        ("license != 'CC'", None),
        ("not license == 'CC'", None),
        ("license == 'CC' or width > 1", True),
        ("license == 'CC' and width > 1", None),
        ("license == 'CC' and width < 1", False),
        # so does another type
        ("NSFW < 3", None),
        ("width == 'wide'", None),
        ("width in ('512', '64')", None),
        ("safe == 1", None),
        ("caption", None),
        ("3 in caption", None),
        ("tags < tags", None),
    ],
)
def test_what_a_condition_holds_for(text: str, expected: bool | None) -> None:
    assert Where(text).holds(FACTS, {}) is expected
    assert pickle.loads(pickle.dumps(Where(text))).holds(FACTS, {}) is expected


def test_the_fields_that_are_compared_have_their_positions() -> None:
    where = Where("a.b > 1 and json['c d'] == e or f is missing and true == g")
    assert where.fields == {"a.b": 1, "c d": 13, "e": 28, "g": 58}


def test_what_leaves_a_comparison_open_is_noted() -> None:
    lacking: dict[str, str] = {}
    Where("license == 'CC' and info.x > 3 and width == 'wide' and height is missing").holds(FACTS, lacking)
    assert {name: problem == LACK for name, problem in lacking.items()} == {
        "license": True, "info.x": True, "width": False
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("width > 5 and __import__('os').system('ls')", r"position 15: `__import__\('os'\).system\('ls'\)` is not acc"),
        ("é == 'é' and f(x)", r"position 14: `f\(x\)` is not accepted: a condition has comparisons such as"),
        ("width = 5", "position 7: cannot be read: write `==`"),
        ("a > 1 || b > 1", "position 8: cannot be read: write `or`"),
        ("  width <", "position .*: cannot be read: a condition has comparisons"),
        ("", "position 1: cannot be read"),
        ("a) or (b", "position 2: cannot be read"),
        ("1 + 2 == 3", r"position 1: `1 \+ 2` is not accepted"),
        ("  tags[0] == 1", r"position 3: `tags\[0\]` is not accepted"),
        ("a['x'] == 1", "position 1: .* is not accepted"),
        ("json[0] == 1", "position 1: .* is not accepted"),
        ("a.b().c == 1", "position 1: .* is not accepted"),
        ("(lambda: 1)() == 1", "is not accepted"),
        ("a is None", "position 6: `None` is not accepted: `is` is only for `is missing`"),
        ("3 is missing", "position 1: `3` is not accepted: only a field can be missing"),
        ("missing == 1", "position 1: `missing` is not accepted"),
        ("a == 1j", "is not accepted"),
        ("a == b'x'", "is not accepted"),
        ("a == f'{a}'", "is not accepted"),
        ("'x'", "position 1: `'x'` is not accepted"),
        ("(" * 900, "cannot be read"),
        ("not " * 60 + "a", "position 201: .* nested more than 50 levels deep"),
        ("a" * 10_001, "where: has 10001 characters, more than 10000; shorten it"),
        ("-" * 900 + "1 < a", "is not accepted|cannot be read"),
        ("a\0", "cannot be read"),
    ],
)
def test_everything_else_is_rejected_with_its_position(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Where(text)
    assert caught.value.argument == "where"
