"""The page for raters: which clips meet, what the page shows of them, and what it hides."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hostile_text import HOSTILE
from PIL import Image
from rating_folders import frames_of, write_system

from evaluation.preference.rating_page import write_rating
from evaluation.preference.rating_plan import pair_clips, questions
from mav_lightning.common.errors import UserError
from mav_lightning.common.manifest import write_manifest

PROMPTS = ["a cat", "a dog", "a red circle"]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    return write_system(tmp_path / "ours", 0, PROMPTS), write_system(tmp_path / "theirs", 1, PROMPTS)


def page_data(page: Path) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="rating">(.*?)</script>', page.read_text())[1])


def write(folders: tuple[Path, Path], out: Path, seed: int = 0, asked: tuple[str, ...] = ("quality",)) -> Path:
    return write_rating(pair_clips(folders, None), questions(asked), ("ours", "theirs"), out, seed)


def grid_frames(page: Path, clip: dict) -> np.ndarray:
    image = np.asarray(Image.open(page.parent / clip["src"]).convert("RGB"))
    places = [divmod(number, clip["columns"]) for number in range(clip["frames"])]
    height, width = clip["height"], clip["width"]
    return np.stack([image[r * height : (r + 1) * height, c * width : (c + 1) * width] for r, c in places])


def test_clips_are_stored_bit_for_bit_and_the_key_says_whose_they_are(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    page = write(folders, tmp_path / "rating", asked=("quality", "faithfulness"))
    key, data = json.loads((tmp_path / "rating" / "key.json").read_text()), page_data(page)

    assert key["form"] == data["form"] and key["systems"] == ["ours", "theirs"]
    assert sorted(key["items"]) == sorted(item["id"] for item in data["items"]) and len(data["items"]) == 6
    for item in data["items"]:
        known = key["items"][item["id"]]
        for letter, system in (("x", known["x"]), ("y", 1 - known["x"])):
            clip = item[letter]
            np.testing.assert_array_equal(grid_frames(page, clip), frames_of(system, int(known["clips"][system])))
            assert (clip["frames"], clip["width"], clip["height"], clip["fps"]) == (4, 6, 8, 8.0)
    assert [item["prompt"] is None for item in data["items"]] == [True] * 3 + [False] * 3, "asked with its text only"


def test_the_page_names_no_system_and_every_system_is_x_as_often(tmp_path: Path) -> None:
    prompts = [f"prompt {number}" for number in range(200)]
    folders = write_system(tmp_path / "ours", 0, prompts[:200]), write_system(tmp_path / "theirs", 1, prompts[:200])
    page = write(folders, tmp_path / "rating")
    shown = page.read_text()
    assert "ours" not in shown.replace("yours", "") and "theirs" not in shown
    names = [path.name for path in (page.parent / "clips").iterdir()]
    assert len(names) == 400 and all(re.fullmatch(r"[0-9a-f]{16}\.webp", name) for name in names)
    key = json.loads((tmp_path / "rating" / "key.json").read_text())
    assert 80 <= sum(item["x"] for item in key["items"].values()) <= 120


def test_the_seed_alone_draws_order_and_letters(folders: tuple[Path, Path], tmp_path: Path) -> None:
    first, same, other = (
        write(folders, tmp_path / name, seed).read_text() for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == same != other


def test_the_page_loads_nothing_from_elsewhere_and_prompts_stay_text(tmp_path: Path) -> None:
    texts = [text for text in HOSTILE if text.strip() and "\x00" not in text and text.isprintable()]
    folders = write_system(tmp_path / "a", 0, texts), write_system(tmp_path / "b", 1, texts)
    page = write(folders, tmp_path / "rating", asked=("faithfulness", "Is <b>this</b> better?"))
    assert {item["prompt"] for item in page_data(page)["items"]} == set(texts)
    assert page.read_text().count("<script") == 2 and "<img" not in page.read_text()
    assert "default-src 'none'" in page.read_text() and not re.search(r"(src|href)=.http", page.read_text())


def test_several_clips_of_a_prompt_are_paired_in_the_order_of_their_ids(tmp_path: Path) -> None:
    folders = write_system(tmp_path / "a", 0, ["x", "y", "x"]), write_system(tmp_path / "b", 1, ["y", "x", "x"])
    found = [(pair.prompt, *(clip.id for clip in pair.clips)) for pair in pair_clips(folders, None)]
    assert found == [("x", "0", "1"), ("x", "2", "2"), ("y", "1", "0")]


def test_a_list_chooses_prompts_and_a_table_gives_them(folders: tuple[Path, Path], tmp_path: Path) -> None:
    assert [pair.prompt for pair in pair_clips(folders, ["a dog"])] == ["a dog"]
    bare = write_system(tmp_path / "a", 0, [None, None]), write_system(tmp_path / "b", 1, [None, None])
    assert [pair.prompt for pair in pair_clips(bare, {"0": "zero", "1": "one"})] == ["zero", "one"]
    with pytest.raises(UserError, match="clip `0` has no prompt; give a table"):
        pair_clips(bare, None)


def test_unequal_systems_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    fewer = write_system(tmp_path / "fewer", 1, PROMPTS[:2])
    for pair in ((folders[0], fewer), (fewer, folders[0])):
        with pytest.raises(UserError, match="fewer: has no clip of 1 prompts, first `a red circle`"):
            pair_clips(pair, None)
    twice = write_system(tmp_path / "twice", 1, [*PROMPTS, "a cat"])
    with pytest.raises(UserError, match="`a cat`: .*ours has 1 clips, .*twice has 2; provide equally many"):
        pair_clips((folders[0], twice), None)


def test_a_mark_on_one_side_only_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    marked = tmp_path / "marked"
    marked.mkdir()
    write_manifest(marked, [], {"mark": True})
    with pytest.raises(UserError, match="raters could tell the systems apart: .*clips as generated; .*visible mark"):
        pair_clips((folders[0], marked), None)


def test_unknown_and_repeated_questions_are_refused() -> None:
    assert [one.name for one in questions(["motion", "Which is funnier?"])] == ["motion", "Which is funnier?"]
    for asked, message in (
        (["qualty"], "unknown question 'qualty'; choose from quality, faithfulness, motion"),
        (["motion", "motion"], "each question must be asked once, got motion, motion"),
        ([], "each question must be asked once, got none"),
    ):
        with pytest.raises(UserError, match=message):
            questions(asked)
