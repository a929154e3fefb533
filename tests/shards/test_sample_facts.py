"""Captions and facts of a sample, in every form in which they are stored."""

import json
from typing import Any

import pytest

from mav_lightning.shards.sample_facts import SampleFacts, read_caption, read_facts
from mav_lightning.shards.samples import SampleError


@pytest.mark.parametrize(
    ("text", "caption"),
    [
        (b"a red circle", "a red circle"),
        (b"\xef\xbb\xbfa red circle\r\n", "a red circle"),
        (b"  a red\ncircle \n", "a red\ncircle"),
        ("a\u2028b\x85c\x0cd\x0be\x1cf".encode(), "a\u2028b\x85c\x0cd\x0be\x1cf"),
        ("cafe\u0301".encode(), "café"),
        (b"", ""),
        ("赤い円".encode(), "赤い円"),
    ],
)
def test_a_text_file_is_the_caption(text: bytes, caption: str) -> None:
    assert read_caption({"txt": text}) == caption
    assert read_caption({"txt": text, "json": b'{"caption": "another"}'}) == caption


@pytest.mark.parametrize(
    ("content", "caption"),
    [
        ({"caption": "c"}, "c"),
        ({"caption": ["c", "d"]}, "c"),
        ({"captions": ["c", "d"]}, "c"),
        ({"captions": ["", " ", "d"]}, "d"),
        ({"captions": ["", None]}, ""),
        ({"caption": None, "captions": [None, "d"]}, "d"),
        ({"caption": 1984}, "1984"),
        ({"caption": 1984.0}, "1984"),
        ({"caption": 2.5}, "2.5"),
        ({"caption": float("nan")}, None),
        ({"caption": []}, None),
        ({"caption": ""}, ""),
        ({"caption": "cafe\u0301 "}, "café"),
        ({"url": "x"}, None),
        ([{"caption": "in a list"}], None),
        ("caption", None),
        (7, None),
        (None, None),
    ],
)
def test_without_a_text_file_json_states_the_caption(content: Any, caption: str | None) -> None:
    assert read_caption({"json": json.dumps(content).encode()}) == caption
    assert read_caption({"json": b"\xef\xbb\xbf" + json.dumps(content).encode()}) == caption


def test_without_both_there_is_none() -> None:
    assert read_facts({}) == SampleFacts()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"txt": b"\xff\xfea\0"}, r"its caption is not UTF-8 \(UTF-16\); save it as UTF-8"),
        ({"txt": b"caf\xe9"}, "its caption is not UTF-8"),
        ({"json": b'{"caption": {"en": "x"}}'}, r"`caption` in its `.json` must be text or a list of texts, got {'en'"),
        ({"json": b'{"caption": true}'}, "`caption` in its `.json` must be text or a list of texts, got True"),
        ({"json": b'{"captions": [["a"]]}'}, "`captions` in its `.json` must be text or a list of texts"),
        ({"json": rb'{"caption": "a\ud83d"}'}, r"`caption` in its `.json` holds half of a character \(a\\ud83d\)"),
        ({"json": rb'{"captions": ["b", "\udc00"]}'}, "`captions` in its `.json` holds half of a character"),
        ({"json": b"{"}, r"its `.json` cannot be read \("),
        ({"json": b""}, "its `.json` cannot be read"),
        ({"json": b"\xff\xfe{\0}\0"}, r"its `.json` is not UTF-8 \(UTF-16\)"),
        ({"json": b"[" * 100_000}, r"its `.json` cannot be read \(nested too deeply\)"),
        ({"json": b'{"a": ' + b"9" * 5000 + b"}"}, "its `.json` cannot be read"),
        ({"json": b'{"attributes": ["a", "b"]}'}, r"`attributes` in its `.json` must be an object, got \['a', 'b'\]"),
        ({"json": b'{"attributes": "red"}'}, "`attributes` in its `.json` must be an object, got red"),
    ],
)
def test_what_cannot_be_read_is_one_message(members: dict[str, bytes], message: str) -> None:
    with pytest.raises(SampleError, match=message):
        read_facts(members)


@pytest.mark.parametrize("depth", range(900, 1100, 7))
def test_nesting_near_the_limit_is_no_crash(depth: int) -> None:
    for text in ('{"attributes": {"a": %s}}', '{"caption": %s}', '{"group": %s}'):
        try:
            read_facts({"json": (text % ("[" * depth + "]" * depth)).encode()})
        except SampleError:
            pass


@pytest.mark.parametrize(
    ("group", "text"), [(0, "0"), (7.0, "7"), (None, ""), (float("nan"), ""), ("", ""), ("a", "a")]
)
def test_a_group_is_text_whatever_json_stores(group: object, text: str) -> None:
    assert read_facts({"json": json.dumps({"group": group}).encode()}).group == text


@pytest.mark.parametrize(
    "content", [{"group": "\ud83d"}, {"attributes": {"a": "x\ud800"}}, {"attributes": {"\udfff": "x"}}]
)
def test_halves_of_characters_are_refused_in_every_fact(content: dict[str, object]) -> None:
    with pytest.raises(SampleError, match="holds half of a character"):
        read_facts({"json": json.dumps(content).encode()})


def test_facts_are_text() -> None:
    content = {
        "attributes": {"size": 3.0, "big": True, "of": None, "on": {"b": [1], "a": 2}},
        "group": 17,
        "caption": "x",
    }

    assert read_facts({"json": json.dumps(content).encode()}) == SampleFacts(
        "x", {"size": "3", "big": "True", "on": '{"a": 2, "b": [1]}'}, "17"
    )
