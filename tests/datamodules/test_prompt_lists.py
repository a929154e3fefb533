import json
from pathlib import Path

import pytest

from datamodules.msrvtt import read_msrvtt
from datamodules.prompt_lists import caption_prompts, class_prompts
from mav_lightning.common.errors import UserError


@pytest.fixture
def annotation(tmp_path: Path) -> Path:
    """Two test videos with three captions and one, and a training video."""
    sides = {"video0": "train", "video7010": "test", "video7011": "test"}
    texts = [("video0", "a car")] + [("video7010", f"dog {number}") for number in range(3)] + [("video7011", "a cat")]
    path = tmp_path / "a.json"
    path.write_text(
        json.dumps(
            {
                "videos": [{"video_id": video, "split": split} for video, split in sides.items()],
                "sentences": [
                    {"video_id": video, "sen_id": number, "caption": text} for number, (video, text) in enumerate(texts)
                ],
            }
        )
    )
    return path


def test_all_captions_of_the_test_split_are_numbered_within_their_video(annotation: Path) -> None:
    assert caption_prompts(annotation, "all") == [
        ("video7010-00", "dog 0"), ("video7010-01", "dog 1"), ("video7010-02", "dog 2"), ("video7011-00", "a cat"),
    ]  # fmt: skip


def test_one_caption_of_each_test_video_is_the_one_that_packing_draws(annotation: Path) -> None:
    for seed in range(5):
        packed = read_msrvtt(annotation, ["video7010.mp4"], caption_seed=seed).rows["video7010.mp4"].caption
        assert caption_prompts(annotation, "one", seed) == [("video7010", packed), ("video7011", "a cat")]


def test_classes_take_turns(tmp_path: Path) -> None:
    (tmp_path / "p.tsv").write_text("# x\n#class_index\tclass_name\tprompt\n1\tArchery\ta bow\n2\tYoYo\ta yo-yo\n")

    assert class_prompts(tmp_path / "p.tsv", 2) == [
        ("Archery-0000", "a bow"), ("YoYo-0000", "a yo-yo"), ("Archery-0001", "a bow"), ("YoYo-0001", "a yo-yo"),
    ]  # fmt: skip


def test_numbers_and_words_out_of_range_are_refused(annotation: Path, tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("video_id\tofficial_split\tcaption\nvideo0\ttrain\ta car\n")

    with pytest.raises(UserError, match="per_video: must be one or all, got `two`"):
        caption_prompts(annotation, "two")
    with pytest.raises(UserError, match="per_class: must be at least 1, got 0"):
        class_prompts(annotation, 0)
    with pytest.raises(UserError, match="has no captions of the test split"):
        caption_prompts(tmp_path / "train.tsv", "one")
