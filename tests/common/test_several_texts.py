"""Several texts under one name: which counts, and how they are written in JSON and in cells of tables."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mav_lightning.common.errors import UserError
from mav_lightning.common.several_texts import first_text, listed_texts, several_texts
from mav_lightning.common.tables import read_table

COLUMNS = ("file", "caption", "captions")
PAIR = ["a cat", "a dog"]


@pytest.mark.parametrize(
    ("content", "first", "several"),
    [
        ({}, None, []),
        ({"caption": " a "}, "a", []),
        ({"caption": PAIR}, "a cat", PAIR),
        ({"captions": PAIR}, "a cat", PAIR),
        ({"caption": "a pet", "captions": PAIR}, "a pet", PAIR),
        ({"caption": ["b"], "captions": PAIR}, "b", PAIR),
        ({"caption": "", "captions": PAIR}, "a cat", PAIR),
        ({"caption": None, "captions": [None, "", " a "]}, "a", ["a"]),
        ({"caption": PAIR, "captions": []}, "a cat", PAIR),
        ({"caption": "a", "captions": "b"}, "a", []),
        ({"captions": ["", " "]}, "", []),
        ({"caption": [1984, 2.5]}, "1984", ["1984", "2.5"]),
    ],
)
def test_the_first_text_counts_and_a_list_holds_all(content: Any, first: str | None, several: list[str]) -> None:
    assert (first_text(content, "caption"), several_texts(content, "caption")) == (first, several)


def test_what_is_no_text_is_named() -> None:
    for read in (first_text, several_texts):
        with pytest.raises(UserError, match="captions: must be text or a list of texts, got {'a': 1}"):
            read({"captions": [{"a": 1}]}, "caption")


@pytest.mark.parametrize(
    "cell",
    ["a cat", "[music]", "[1, 2]", "[]", "[", "['a cat' 2]", "['a', 2]", '["a"] and "b"', "[['a']]", "('a', 'b')",
     "{'a'}", "['a'", "['a',\n 'b']", '["a"' + "[" * 9000 + "]", "['" + "[" * 9000 + "]", "[f'a']",
     "[b'a']", "['a'+'b']"],
)  # fmt: skip
def test_other_cells_stay_as_they_are(cell: str) -> None:
    assert listed_texts(cell) == cell


@pytest.mark.parametrize("texts", [PAIR, ["one"], ['it\'s "so"', "b"], ["\\n", "猫"], ["a, b", None], ["", "x"]])
def test_lists_are_read_as_json_and_python_write_them(texts: list[str | None]) -> None:
    assert listed_texts(json.dumps(texts)) == listed_texts(str(texts)) == texts
    assert listed_texts(json.dumps(texts, ensure_ascii=False, indent=1)) == texts


@pytest.mark.parametrize("texts", [PAIR, ['it\'s "so"', "b"], ["\n", "猫"], ["a, b", ""], ["x " * 60, "y " * 60]])
def test_lists_are_read_as_tables_of_pandas_hold_them(texts: list[str]) -> None:
    assert listed_texts(str(np.array(texts, object))) == texts


@pytest.mark.parametrize("name", ["caption", "captions"])
@pytest.mark.parametrize(
    "table",
    [
        'file\tNAME\nx\t["a cat", "a dog"]\n',
        "file\tNAME\nx\t['a cat', 'a dog']\n",
        'NAME;file\n"[""a cat"", ""a dog""]";x\n',
        "file,NAME\nx,\"['a cat', 'a dog']\"\n",
        '{"file": "x", "NAME": ["a cat", "a dog"]}\n',
        '{"NAME": [" a cat", "", null, "a dog "], "file": "x", "tags": ["y"]}\n',
    ],
)
def test_every_form_of_table_keeps_all(tmp_path: Path, table: str, name: str) -> None:
    (tmp_path / "t").write_text(table.replace("NAME", name))

    ((_, cells),) = read_table(tmp_path / "t", "caption table", COLUMNS, needed=2)

    assert (cells["file"], cells["caption"], cells.several["caption"]) == ("x", "a cat", PAIR)


def test_lists_in_other_columns_and_bad_ones_of_known_columns(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text("file\tcaption\ttags\nx\ta\t['y', 'z']\n")
    ((_, cells),) = read_table(path, "caption table", COLUMNS, needed=2)
    assert (cells["caption"], cells["tags"], cells.several) == ("a", "['y', 'z']", {})

    path.write_text('file\tcaption\nx\t["a\\ud83d"]\n')
    with pytest.raises(UserError, match=r"t: line 2: caption: holds half of a character"):
        list(read_table(path, "caption table", COLUMNS, needed=2))
