import json
from collections import Counter
from pathlib import Path

import pytest

from datamodules.msrvtt import read_msrvtt
from datamodules.prompt_lists import caption_prompts, class_prompts, frequency_prompts
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


def test_class_prompts_keep_the_frequencies_of_a_training_list(tmp_path: Path) -> None:
    (tmp_path / "p.tsv").write_text("class_name\tprompt\nArchery\ta bow\nBiking\ta bike\nDiving\ta dive\n")
    videos = {"Archery": 5, "Biking": 3, "Diving": 2}
    lines = [f"{label}/v_{label}_g01_c{n:02d}.avi 1" for label, own in videos.items() for n in range(own)]
    (tmp_path / "list.txt").write_text("\n".join(lines) + "\n")

    def counts(clips: int) -> dict[str, int]:
        found = frequency_prompts(tmp_path / "p.tsv", tmp_path / "list.txt", clips)
        assert len(found) == clips == len(dict(found))
        return dict(Counter(prompt for _, prompt in found))

    assert counts(1000) == {"a bow": 500, "a bike": 300, "a dive": 200}
    assert counts(13) == {"a bow": 6, "a bike": 4, "a dive": 3}  # of 6.5, 3.9 and 2.6
    assert frequency_prompts(tmp_path / "p.tsv", tmp_path / "list.txt", 10)[0] == ("Archery-0000", "a bow")


def test_frequencies_need_a_prompt_of_every_class_and_a_list_of_videos(tmp_path: Path) -> None:
    (tmp_path / "p.tsv").write_text("class_name\tprompt\nBiking\ta bike\n")
    (tmp_path / "list.txt").write_text("Archery/v_Archery_g01_c01.avi 1\n")
    with pytest.raises(UserError, match=r"p\.tsv: has no prompt for 1 classes, such as `Archery`"):
        frequency_prompts(tmp_path / "p.tsv", tmp_path / "list.txt", 5)
    with pytest.raises(UserError, match="clips: must be at least 1, got 0"):
        frequency_prompts(tmp_path / "p.tsv", tmp_path / "list.txt", 0)
    (tmp_path / "list.txt").write_text("archery\n")
    with pytest.raises(UserError, match=r"list\.txt: must list files such as .*, got `archery`"):
        frequency_prompts(tmp_path / "p.tsv", tmp_path / "list.txt", 5)
