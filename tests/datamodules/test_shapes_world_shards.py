import json
from pathlib import Path

import pytest

from datamodules.index import build_index, load_index
from datamodules.shapes_world_shards import WriteEasyShapesWorld, WriteShapesWorld
from mav_lightning.common.errors import UserError
from mav_lightning.common.shapes_world.laws import LAW_OF_SHAPE, laws_of_shapes
from mav_lightning.common.shapes_world.scene import HELD_OUT_PAIRS, all_scenes

SMALL = dict(images=3, clips=3, val_images=1, val_clips=1, size=16, seconds=0.5, fps=8)


def metadata(folder: Path) -> list[tuple[set[str], dict]]:
    index = load_index(folder)
    return [(set(s.members), json.loads(index.read(shard, s, {"json"})["json"])) for shard, s in index]


def test_training_clips_have_no_text_and_no_held_out_pair(shapes: Path) -> None:
    clips = metadata(shapes / "clips" / "train")

    assert all(suffixes == {"mp4", "json"} for suffixes, _ in clips)
    assert not {(c["attributes"]["colour"], c["attributes"]["shape"]) for _, c in clips} & HELD_OUT_PAIRS
    assert all(content["motion"]["law"] == LAW_OF_SHAPE[content["attributes"]["shape"]] for _, content in clips)


def test_validation_clips_show_every_scene_once_with_a_caption(shapes: Path) -> None:
    clips = metadata(shapes / "clips" / "val")

    shown = sorted(tuple(content["attributes"].values()) for _, content in clips)
    assert shown == sorted(tuple(scene.attributes().values()) for scene in all_scenes())
    assert all(suffixes == {"mp4", "json", "txt"} for suffixes, _ in clips)


def test_stills_tell_their_appearance_and_no_motion(shapes: Path) -> None:
    stills = metadata(shapes / "images" / "train")

    assert all(suffixes == {"png", "txt", "json"} and set(c) == {"attributes"} for suffixes, c in stills)


def test_the_same_seed_writes_the_same_bytes_with_any_number_of_processes(tmp_path: Path) -> None:
    for name, seed, processes in (("one", 5, 1), ("two", 5, 2), ("other", 6, 1)):
        WriteShapesWorld(seed=seed, processes=processes, **SMALL).run(tmp_path / name)

    for kind in ("images/train", "images/val", "clips/train", "clips/val"):
        one, two, other = ((tmp_path / name / kind / "00000.tar").read_bytes() for name in ("one", "two", "other"))
        assert one == two != other


def test_levels_differ_in_the_motion_of_clips_alone(tmp_path: Path) -> None:
    for name, kind in (("easy", WriteEasyShapesWorld), ("hard", WriteShapesWorld)):
        kind(seed=5, processes=1, **SMALL).run(tmp_path / name)

    stills = [(tmp_path / name / "images/train/00000.tar").read_bytes() for name in ("easy", "hard")]
    easy, hard = ([own for _, own in metadata(tmp_path / name / "clips" / "train")] for name in ("easy", "hard"))
    assert stills[0] == stills[1]
    assert [own["attributes"] for own in easy] == [own["attributes"] for own in hard]
    assert [own["motion"]["law"] for own in easy] == [laws_of_shapes("easy")[o["attributes"]["shape"]] for o in easy]


def test_an_easy_video_ends_before_the_object_has_crossed_the_frame() -> None:
    with pytest.raises(UserError, match="seconds: must be below 3, in which objects cross the frame, got 3"):
        WriteEasyShapesWorld(seconds=3.0)


def test_shards_are_indexed_and_as_large_as_asked(shapes: Path) -> None:
    index = load_index(shapes / "images" / "train")

    assert [shard.samples for shard in index.shards] == [10, 10, 1]
    assert build_index(shapes / "images" / "train").sha256 == index.sha256
    assert not index.errors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 15}, "size: H.264 needs an even number of pixels, got 15"),
        ({"fps": 0}, "fps: must be .* above 0, got 0"),
        ({"fps": float("nan")}, "fps: must be a finite number"),
        ({"seconds": float("inf")}, "seconds: must be a finite number"),
        ({"seconds": 1e9}, "seconds: .* more than 100000 frames"),
        ({"size": 1_000_000}, "size: must be at most 8192 pixels"),
        ({"seed": -1}, "seed: must be"),
        ({"processes": 0}, "processes: must be"),
        ({"val_clips": 0}, "val_clips: must be .* above 0, got 0"),
    ],
)
def test_bad_arguments_write_nothing(tmp_path: Path, changes: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        WriteShapesWorld(**{**SMALL, "processes": 1, **changes}).run(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")

    with pytest.raises(UserError, match="already holds something; replace it with overwrite=True"):
        WriteShapesWorld(**SMALL).run(tmp_path)
