"""Which frames of which videos a protocol takes, told by clips whose frames name their own number."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluation.clip_selection import plan_generated, plan_real
from evaluation.cuts import Cut, read_cut
from evaluation.folders import open_clips
from evaluation.protocol import GeneratedClips, Protocol, RealClips, load_protocol
from mav_lightning.common.errors import UserError
from mav_lightning.common.video_encoding import encode_mp4, write_lossless

_TATS = load_protocol("fvd-tats-2048x16")
ONCE = RealClips(clips=None, start="random", split="val", choice="shuffled", repeat=False, fewer=False)
STRIDED = replace(_TATS, frames=4, seed=3, resize=(), real=ONCE)


def film(folder: Path, name: str, frames: int, fps: float = 25.0) -> None:
    folder.mkdir(exist_ok=True)
    levels = np.arange(frames, dtype=np.uint8)[:, None, None, None]
    write_lossless(folder / f"{name}.mkv", np.broadcast_to(levels, (frames, 16, 16, 3)).copy(), fps)


def numbers(cut: Cut) -> list[int]:
    """Of the frames that are really read."""
    return [int(level) for level in read_cut(cut, ()).pixels[:, 0, 0, 0]]


def made(folder: Path, protocol: Protocol, start: str = "first", clips: int | None = None) -> list[Cut]:
    wanted = GeneratedClips(clips, start)  # type: ignore[arg-type]
    return plan_generated(open_clips(folder), replace(protocol, generated=wanted))


@pytest.mark.parametrize(("stride", "start", "wanted"), [
    (1, "first", [0, 1, 2, 3]),
    (3, "first", [0, 3, 6, 9]),
    (1, "center", [8, 9, 10, 11]),
    (3, "center", [5, 8, 11, 14]),
])  # fmt: skip
def test_frames_are_taken_by_number(tmp_path: Path, stride: int, start: str, wanted: list[int]) -> None:
    film(tmp_path, "a", 20)

    (cut,) = made(tmp_path, replace(STRIDED, stride=stride), start)

    assert numbers(cut) == wanted
    assert cut.fps == pytest.approx(25 / stride)


def test_random_starts_follow_the_seed_and_reach_both_ends(tmp_path: Path) -> None:
    for number in range(40):
        film(tmp_path, f"{number:02}", 6)

    def starts(seed: int) -> list[int]:
        return [numbers(cut)[0] for cut in made(tmp_path, replace(STRIDED, seed=seed), "random")]

    assert starts(3) == starts(3) != starts(4)
    assert set(starts(3)) == {0, 1, 2}


@pytest.mark.parametrize(("start", "wanted"), [("first", [0, 5, 10, 15]), ("center", [12, 17, 22, 27])])
def test_frames_are_taken_by_time(tmp_path: Path, start: str, wanted: list[int]) -> None:
    film(tmp_path, "a", 40)

    (cut,) = made(tmp_path, replace(STRIDED, stride=None, fps=(5.0,)), start)

    assert numbers(cut) == wanted
    assert cut.fps == 5.0


def test_frames_by_number_are_exact_behind_many_keyframes(tmp_path: Path) -> None:
    levels = np.broadcast_to((3 * np.arange(80, dtype=np.uint8))[:, None, None, None], (80, 32, 32, 3)).copy()
    (tmp_path / "a.mp4").write_bytes(encode_mp4(levels, 29.97, gop=5))

    (cut,) = made(tmp_path, replace(STRIDED, stride=19), "center")

    np.testing.assert_allclose(read_cut(cut, ()).pixels[:, 0, 0, 0] / 3, [11, 30, 49, 68], atol=0.7)


def test_every_real_video_counts_once_and_short_ones_are_passed_over(tmp_path: Path) -> None:
    for number, frames in enumerate((9, 3, 4, 30)):
        film(tmp_path, str(number), frames)

    cuts = plan_real(open_clips(tmp_path), STRIDED, ONCE, [])

    assert sorted(cut.source.id for cut in cuts) == ["0.mkv", "2.mkv", "3.mkv"]
    assert [len(numbers(cut)) for cut in cuts] == [4, 4, 4]
    assert real_ids(tmp_path, ONCE) == real_ids(tmp_path, ONCE)


def test_more_real_clips_than_videos_are_an_error_unless_videos_may_repeat(tmp_path: Path) -> None:
    for number in range(3):
        film(tmp_path, str(number), 9)

    with pytest.raises(UserError, match=r"requires 5 real clips of different videos, but the 3 videos give only 3"):
        real_ids(tmp_path, replace(ONCE, clips=5))
    assert len(real_ids(tmp_path, replace(ONCE, clips=5, repeat=True))) == 5


def test_no_real_video_long_enough_says_what_is_needed(tmp_path: Path) -> None:
    film(tmp_path, "a", 9)

    with pytest.raises(UserError, match=r"longest real video has 9 frames, but 4 at stride 5 need 16; provide longer"):
        plan_real(open_clips(tmp_path), replace(STRIDED, stride=5), ONCE, [])


def test_more_generated_clips_than_count_are_drawn_by_the_seed(tmp_path: Path) -> None:
    for number in range(9):
        film(tmp_path, str(number), 4)

    drawn = [[cut.id for cut in made(tmp_path, replace(STRIDED, seed=seed), clips=5)] for seed in (0, 0, 1)]

    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 5


def test_fewer_generated_clips_than_count_are_refused_unless_forced(tmp_path: Path) -> None:
    film(tmp_path, "a", 4)
    protocol = replace(STRIDED, generated=GeneratedClips(2048, "first"))

    with pytest.raises(UserError, match=r"fvd-tats-2048x16 requires 2048 generated clips, got 1; generate more"):
        plan_generated(open_clips(tmp_path), protocol)
    assert len(plan_generated(open_clips(tmp_path), protocol, force=True)) == 1


def test_unequal_frame_counts_are_all_counted(tmp_path: Path) -> None:
    for number, frames in enumerate((4, 3, 9, 2)):
        film(tmp_path, str(number), frames)

    with pytest.raises(UserError, match=r"2 of 4 generated .*`1\.mkv`: has 3 frames, but 4 need 4.*`3\.mkv`: has 2"):
        made(tmp_path, STRIDED)


def real_ids(folder: Path, real: RealClips) -> Sequence[tuple[str, tuple[int, ...] | None]]:
    return [(cut.id, cut.numbers) for cut in plan_real(open_clips(folder), STRIDED, real, [])]


def test_the_first_videos_are_taken_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name, frames in (("b", 9), ("a", 3), ("c", 5), ("d", 9)):  # `a` is too short
        film(tmp_path, name, frames)
    first = replace(ONCE, clips=2, choice="first")

    assert [name for name, _ in real_ids(tmp_path, first)] == ["b.mkv#0", "c.mkv#1"]


def test_names_count_and_not_the_folders_or_splits_of_videos(tmp_path: Path) -> None:
    for split, name in (("val", "v_Archery_g01"), ("train", "v_BasketballDunk_g01"), ("train", "v_Basketball_g01")):
        (tmp_path / "clips" / split).mkdir(parents=True, exist_ok=True)
        film(tmp_path / "clips" / split / name[2:-4], name, 9)
    first = replace(ONCE, clips=2, choice="first", split="all")

    found = [cut.id for cut in plan_real(open_clips(tmp_path, "all"), STRIDED, first, [])]

    # as by `sorted` of a folder that holds a folder of each name: `D` comes before `_`
    assert found == ["train/BasketballDunk/v_BasketballDunk_g01.mkv#1", "val/Archery/v_Archery_g01.mkv#0"]


def test_fewer_videos_than_clips_are_all_taken_where_the_protocol_accepts_it(tmp_path: Path) -> None:
    for number in range(3):
        film(tmp_path, str(number), 9)

    assert len(real_ids(tmp_path, replace(ONCE, clips=5, choice="first", fewer=True))) == 3


def test_windows_are_drawn_among_all_runs_of_frames_and_none_twice(tmp_path: Path) -> None:
    film(tmp_path, "long", 33)
    film(tmp_path, "short", 6)
    film(tmp_path, "too-short", 3)
    everything = replace(ONCE, clips=33, choice="windows")

    cuts = plan_real(open_clips(tmp_path), STRIDED, everything, [])

    assert sorted((cut.source.id, (cut.numbers or ())[0]) for cut in cuts) == [
        *(("long.mkv", first) for first in range(30)),
        *(("short.mkv", first) for first in range(3)),
    ]
    with pytest.raises(
        UserError, match=r"requires 34 real clips, but the 3 videos give only 33; provide more or longer"
    ):
        plan_real(open_clips(tmp_path), STRIDED, replace(everything, clips=34), [])


def test_windows_follow_the_seed_and_the_lengths_of_the_videos(tmp_path: Path) -> None:
    film(tmp_path, "long", 63)
    film(tmp_path, "short", 23)
    some = replace(ONCE, clips=20, choice="windows")

    def drawn(seed: int) -> list[tuple[str, tuple[int, ...] | None]]:
        cuts = plan_real(open_clips(tmp_path), replace(STRIDED, seed=seed), some, [])
        return [(cut.source.id, cut.numbers) for cut in cuts]

    assert drawn(0) == drawn(0) != drawn(1)
    of_long = sum(name == "long.mkv" for seed in range(30) for name, _ in drawn(seed))
    assert of_long / 600 == pytest.approx(60 / 80, abs=0.06)


def test_all_splits_of_a_dataset_are_one_set_of_clips(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / "clips").mkdir(exist_ok=True)
        film(tmp_path / "clips" / split, "a", 9)

    assert [clip.id for clip in open_clips(tmp_path, "all")] == ["train/a.mkv", "val/a.mkv"]
    assert [clip.id for clip in open_clips(tmp_path / "clips" / "val", "all")] == ["a.mkv"]
