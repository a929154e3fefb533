from pathlib import Path

import pytest

from mav_lightning.cascade.clip_requests import text_requests
from mav_lightning.common.errors import UserError
from mav_lightning.prompts import Prompt, read_prompts, write_prompts


def test_prompts_come_one_a_line(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("\ufeffa red circle\n\n  a dog, a cat \r\n", encoding="utf-8")

    assert read_prompts(tmp_path / "p.txt") == [Prompt("a red circle"), Prompt("a dog, a cat")]


def test_a_table_is_read_as_it_was_written_and_ids_are_kept(tmp_path: Path) -> None:
    write_prompts(tmp_path / "p.tsv", [("video7010-03", "a dog"), ("video7011-00", "a “cat”")])

    assert read_prompts(tmp_path / "p.tsv") == [
        Prompt("a dog", {"prompt_id": "video7010-03"}), Prompt("a “cat”", {"prompt_id": "video7011-00"}),
    ]  # fmt: skip


def test_a_prompt_in_quotation_marks_survives_a_table(tmp_path: Path) -> None:
    texts = ['"a dog"', '"a" dog', '"a dog', 'a "dog"']
    write_prompts(tmp_path / "p.tsv", [(str(number), text) for number, text in enumerate(texts)])

    assert [prompt.text for prompt in read_prompts(tmp_path / "p.tsv")] == texts


def test_a_single_column_is_read_as_tools_write_it(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text('prompt\n"a cat, red"\na dog, brown\n"a ""big"" cat"\n')

    assert [prompt.text for prompt in read_prompts(tmp_path / "p.csv")] == ["a cat, red", "a dog, brown", 'a "big" cat']


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n \n", "has no prompts; write one per line"),
        ("id\tprompt\n", "has no prompts; write one per line"),
        ("id\tprompt\na dog\n", "line 2 has 1 columns, its header 2; separate by tabs"),
        ("id\tprompt\nv1\t\n", "line 2 lacks its id or its prompt; write both"),
        ("id\tprompt\nv1\ta\tdog\n", "line 2 has 3 columns, its header 2; separate by tabs"),
        ("v1\ta dog\n", "line 1 has a tab, but the first line names no columns; begin it with `id<TAB>prompt`"),
        ("a dog\nid\tprompt\n", "line 2 has a tab"),
        ('"a cat, red"\na dog\n', "line 1 is in quotation marks, as in CSV, but the first line names no columns"),
        ("caption\na cat\n", "has no column `prompt`"),
        ("sep=;\na cat\n", "has no column `prompt`"),
        ('prompt\n"a cat\non a mat"\n', 'line 2 has a text that begins with " and does not end on this line'),
        ('{"prompt": ["a cat", "a dog"]}\n', "`prompt` must be one text, got 2; write a row for each"),
        ("id\tprompts\nv1\ta dog\n", "has no column `prompt`.* Did you mean `prompts`"),
    ],
)
def test_files_without_prompts_and_rows_without_ids_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p").write_text(text)

    with pytest.raises(UserError, match=message):
        read_prompts(tmp_path / "p")


def test_what_no_text_encoder_takes_is_refused_before_anything_is_drawn() -> None:
    for text, what in (("a caf\udce9", "half of a character"), ("a\0b", "a NUL")):
        with pytest.raises(UserError, match=f"prompt: holds {what}"):
            Prompt(text)
    assert Prompt("cafe\u0301").text == "caf\u00e9"


def test_a_prompt_that_comes_again_is_drawn_with_the_next_seeds() -> None:
    bow, dog = Prompt("a bow", {"prompt_id": "Archery-0000"}), Prompt("a dog")
    again = Prompt("a bow", {"prompt_id": "Archery-0001"})

    requests = text_requests([bow, dog, again], [4.0, 8.0], range(5, 7))

    assert [(one.prompt, one.fps, one.seed) for one in requests] == [
        (bow, 4, 5), (bow, 4, 6), (bow, 8, 5), (bow, 8, 6),
        (dog, 4, 5), (dog, 4, 6), (dog, 8, 5), (dog, 8, 6),
        (again, 4, 7), (again, 4, 8), (again, 8, 7), (again, 8, 8),
    ]  # fmt: skip


def test_a_file_of_a_million_prompts_or_one_endless_line_is_refused_early(tmp_path: Path) -> None:
    (tmp_path / "many").write_text("a\n" * 10**6)
    with pytest.raises(UserError, match="has more than 100000 prompts; split it"):
        read_prompts(tmp_path / "many")
    with pytest.raises(UserError, match="line 1 has more than 40000 bytes"):
        read_prompts(Path("/dev/zero"))
