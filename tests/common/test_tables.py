"""Tables of users in three formats and any order of columns."""

from pathlib import Path

import pytest

from mav_lightning.common.errors import UserError
from mav_lightning.common.tables import is_table, read_table, tab_cell

COLUMNS = ("file", "caption", "label")


def rows(tmp_path: Path, text: str, comment: str | None = None) -> list[tuple[int, dict[str, str]]]:
    path = tmp_path / "table"
    path.write_bytes(text.encode())
    return list(read_table(path, "caption table", COLUMNS, needed=2, comment=comment))


@pytest.mark.parametrize(
    "text",
    [
        "file\tcaption\na.mp4\ta cat, a dog\n",
        "\ufefffile\tcaption\r\na.mp4\ta cat, a dog\r\n",
        "caption\tfile\na cat, a dog\ta.mp4\n",
        "File\tCAPTION\na.mp4\ta cat, a dog",
        " file \t caption \n\n a.mp4 \t a cat, a dog \n\n",
        'file,caption\na.mp4,"a cat, a dog"\n',
        'caption,file\r\n"a cat, a dog",a.mp4\r\n',
        '"File","Caption"\n"a.mp4","a cat, a dog"\n',
        "file;caption\na.mp4;a cat, a dog\n",
        '{"file": "a.mp4", "caption": "a cat, a dog"}\n',
        '\n{"caption": ["a cat, a dog", "another"], "file": "a.mp4", "boxes": [1, 2], "extra": {"a": 1}}\n\n',
        '{"File": "a.mp4", "CAPTION": "a cat, a dog"}',
        "sep=;\r\nfile;caption\r\na.mp4;a cat, a dog\r\n",
        '"sep=,",,\nfile,caption\na.mp4,"a cat, a dog"\n',
        'file, caption\na.mp4, "a cat, a dog"\n',
        'file\tcaption\na.mp4\t"a cat, a dog"\n',
        '"file"\t"caption"\n"a.mp4"\t "a cat, a dog" \n',
        ',file,caption\n0,a.mp4,"a cat, a dog"\n',
    ],
)
def test_format_order_and_case_are_recognized(tmp_path: Path, text: str) -> None:
    ((_, cells),) = rows(tmp_path, text)

    assert (cells["file"], cells["caption"]) == ("a.mp4", "a cat, a dog")


def test_further_columns_are_kept_and_rows_have_their_lines_numbers(tmp_path: Path) -> None:
    table = "# note\n#file\tseed\tcaption\tLabel\n\na\t7\tx\ty\n# note\nb\t8\tx\t\n"

    assert rows(tmp_path, table, comment="# ") == [
        (4, {"file": "a", "seed": "7", "caption": "x", "label": "y"}),
        (6, {"file": "b", "seed": "8", "caption": "x", "label": ""}),
    ]


@pytest.mark.parametrize("inside", ["\u2028", "\x85", "\x0c", "\x0b", "\x1c", '"', "'", "\\n", " ; ", "{x}"])
@pytest.mark.parametrize("form", ["tsv", "csv", "jsonl"])
def test_captions_are_kept_as_they_are(tmp_path: Path, inside: str, form: str) -> None:
    import json

    caption = f"a{inside}b"
    quoted = caption.replace('"', '""')
    text = {
        "tsv": f"file\tcaption\na\t{caption}\nb\tx\n",
        "csv": f'file,caption\na,"{quoted}"\nb,x\n',
        "jsonl": "".join(json.dumps({"file": f, "caption": c}) + "\n" for f, c in (("a", caption), ("b", "x"))),
    }[form]

    assert [cells["caption"] for _, cells in rows(tmp_path, text)] == [caption, "x"]


@pytest.mark.parametrize("text", ['"a" cat', 'a "cat"', '"a"b"c"', '"', '"a', '"a cat"', '""', 'a""b', '"a" "b"'])
def test_what_is_written_as_a_cell_is_read_as_it_was(tmp_path: Path, text: str) -> None:
    assert rows(tmp_path, f"file\tcaption\na\t{tab_cell(text)}\n")[0][1]["caption"] == text


def test_a_cell_of_tabs_loses_the_quotation_marks_around_it_only(tmp_path: Path) -> None:
    table = 'file\tcaption\na\t"a ""big"" cat"\nb\t"big" cat\nc\t"a" or "b"\n'

    assert [cells["caption"] for _, cells in rows(tmp_path, table)] == ['a "big" cat', '"big" cat', '"a" or "b"']


def test_quoted_texts_of_csv_span_lines(tmp_path: Path) -> None:
    table = 'file,caption\na,"two\nlines, ""quoted"""\nb,x\n'

    assert rows(tmp_path, table) == [
        (3, {"file": "a", "caption": 'two\nlines, "quoted"'}), (4, {"file": "b", "caption": "x"}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no rows; write one for each file under the header file caption label"),
        ("\n \n", "holds no rows"),
        ("file\tcaption\n", "holds no rows"),
        ("file,caption\n", "holds no rows"),
        ("a.mp4\ta cat\n", "has no column `file`; the first line must name columns, tab separated: file caption label"),
        ("a.mp4,a cat\n", "has no column `file`"),
        ("file\tcaptions\na\tb\n", "has no column `caption`.* Did you mean `captions`"),
        ("files;caption\na;b\n", "has no column `file`.* Did you mean `files`"),
        ("file\tcaption\tfile\na\tb\tc\n", "has the column `file` twice; remove one"),
        ("file\tcaption\na\n", "line 2 has 1 columns, its header 2; separate by tabs"),
        ("file\tcaption\na\tb\t\n", "line 2 has 3 columns"),
        ("file,caption\na,a cat, a dog\n", "line 2 has 3 columns, its header 2; separate by commas, and quote texts"),
        ('file,caption\na,"open\nb,c\n', r"line 3 is not CSV \(unexpected end of data\); quote texts with"),
        ('file,caption\na,"b"c\n', "line 2 is not CSV"),
        ('{"file": "a", "caption": "b"}\n{"file": "a"}\n', "line 2 has no `caption`"),
        ('{"file": "a", "captions": "b"}\n', "line 1 has no `caption`.* Did you mean `captions`"),
        ('{"file": "a", "caption": {"en": "b"}}\n', "line 1 is not JSON Lines"),
        ('{"file": "a", "caption": "b"\n', "line 1 is not JSON Lines"),
        ('{"file": "a", "caption": "b"}\n7\n', r"line 2 is not JSON Lines \(is not an object\)"),
        ("{" * 100_000, "line 1 is not JSON Lines"),
        ('{"a":' * 100_000, "line 1 is not JSON Lines"),
        ('[{"file": "a"}]', "is a JSON array; write one object on each line, for example with `jq -c"),
        ('file\tcaption\na\t"two\nlines"\n', 'line 2 has a text that begins with " and does not end on this line'),
        (
            '{"file": ["a", "b"], "caption": "x"}',
            "line 1 is not JSON Lines .`file` must be one text, got 2; write a row",
        ),
        ("file\tcaption\n['a', 'b']\tx\n", "line 2: `file` must be one text, got 2; write a row for each"),
        (
            '{"file": "a", "caption": "x", "Caption": "y"}',
            "names a column twice, in capitals and without: file, caption",
        ),
        ("file|caption\na|x\n", "has no column `file`"),
        ("file\tcaption\ra\tb\r", "line 1 holds CR alone"),
    ],
)
def test_what_cannot_be_read_is_named_with_the_right_form(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        rows(tmp_path, text)


@pytest.mark.parametrize(
    "first",
    ["id\tprompt", "prompt\tid", "ID,Prompt", "id;prompt;seed", '"id","prompt"', "Prompt", " prompt ", "#prompt\tid",
     "id\tprompts", "prompt,negative prompt,seed", '{"prompt": "x"}', "\ufeffid\tprompt".strip("\ufeff"), ",prompt",
     ",id,prompt", "prompt,score (0-1)", "prompt," + "x" * 50, "sep=;", '"sep=,",', "prompts", "text", '"caption"',
     "file,caption", "prompt_en,category", "id|prompt", "| id | prompt |", "video_caption", "[", '["a cat", "a dog"]',
     '[{"prompt_en": "a cat"}]'],
)  # fmt: skip
def test_headers_are_never_taken_for_prompts(first: str) -> None:
    assert is_table(first, ("prompt", "id"))


@pytest.mark.parametrize(
    "first",
    ["a cat", "a cat, a dog", "id", "a prompt", "a cat; a dog", "prompting, a portrait", "x", "a “prompt”",
     "a photo of a prompt, sharp!", "[a cat]", "1", "an id card, on a table",
     "a text, a caption of a photo", "sepia", "sep 11", "video, file, path", "snake_case",
     "(masterpiece:1.2), [a cat]"],
)  # fmt: skip
def test_prompts_are_never_taken_for_headers(first: str) -> None:
    assert not is_table(first, ("prompt", "id"))
