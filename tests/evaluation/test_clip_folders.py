import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from evaluation.clip_selection import plan_generated
from evaluation.clip_selection import plan_real as plan
from evaluation.clip_sources import VideoSource, sources_sha256, with_content
from evaluation.cuts import Cut, read_cut
from evaluation.folders import open_clips, with_prompts
from evaluation.protocol import RealClips, load_protocol
from evaluation.resize import ResizeStep
from mav_lightning.common.errors import UserError
from mav_lightning.common.manifest import ClipRecord, write_manifest
from mav_lightning.common.video_encoding import encode_mp4, write_lossless

PROTOCOL = load_protocol("shapes-tiny")
BOX = (ResizeStep("box", 16),)
REAL = RealClips(clips=288, start="random", split="val", choice="shuffled", repeat=True, fewer=False)


def plan_real(sources: list[VideoSource], rates: list[float]) -> list[Cut]:
    return plan(sources, PROTOCOL, REAL, rates)


def ramp(frames: int, size: int = 32) -> NDArray[np.uint8]:
    """Frame t is all of grey level 4 t, so that a cut tells which frames it took."""
    return np.broadcast_to((4 * np.arange(frames, dtype=np.uint8))[:, None, None, None], (frames, size, size, 3)).copy()


def generated(folder: Path, count: int = 3, fps: float = 8.0, frames: int = 9) -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        write_lossless(folder / f"{number}.mkv", ramp(frames, 16), fps)
    write_manifest(folder, [ClipRecord(str(number), f"{number}.mkv", fps, "a clip") for number in range(count)])
    return folder


def shard(path: Path, count: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for number in range(count):
            facts = {"caption": "a video", "attributes": {"colour": "red"}, "group": "film"}
            for suffix, data in (("mp4", encode_mp4(ramp(64), 32)), ("json", json.dumps(facts).encode())):
                member = tarfile.TarInfo(f"clip-{number}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return path


def test_generated_clips_come_out_bit_for_bit(tmp_path: Path) -> None:
    cuts = plan_generated(open_clips(generated(tmp_path / "made")), PROTOCOL)

    clip = read_cut(cuts[0], BOX)

    np.testing.assert_array_equal(clip.pixels, ramp(9, 16))
    assert (clip.fps, clip.prompt) == (8.0, "a clip")


def test_frames_stored_as_pictures_are_a_clip(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for number, frame in enumerate(ramp(9, 16)):
        Image.fromarray(frame).save(tmp_path / "a" / f"{number:03}.png")
    write_manifest(tmp_path, [ClipRecord("a", "a", 8.0)])

    clip = read_cut(plan_generated(open_clips(tmp_path), PROTOCOL)[0], BOX)

    np.testing.assert_array_equal(clip.pixels, ramp(9, 16))


def test_plain_videos_are_cut_by_time_at_the_protocols_rates(tmp_path: Path) -> None:
    for number in range(3):
        write_lossless(tmp_path / f"{number}.mkv", ramp(64), 32.0)

    clips = [read_cut(cut, BOX) for cut in plan_generated(open_clips(tmp_path), PROTOCOL)]

    assert [clip.fps for clip in clips] == [16.0, 8.0, 16.0] or [clip.fps for clip in clips] == [8.0, 16.0, 8.0]
    steps = {clip.fps: np.unique(np.diff(clip.pixels[:, 0, 0, 0].astype(int))).tolist() for clip in clips}
    assert steps == {8.0: [16], 16.0: [8]}


def test_shards_are_read_with_what_is_known_of_them(tmp_path: Path) -> None:
    shard(tmp_path / "clips" / "val" / "00000.tar")

    sources = open_clips(tmp_path)

    assert [source.id for source in sources] == ["00000/clip-0", "00000/clip-1"]
    assert sources[0].attributes == {"colour": "red"}
    assert {source.group for source in sources} == {"film"}


def test_real_cuts_keep_the_generated_rates_and_repeat_by_seed(tmp_path: Path) -> None:
    shard(tmp_path / "00000.tar", count=4)
    rates = [8.0, 16.0, 16.0, 16.0]

    cuts = plan_real(open_clips(tmp_path), rates)
    again = plan_real(open_clips(tmp_path), rates)

    assert [(cut.id, cut.seconds) for cut in cuts] == [(cut.id, cut.seconds) for cut in again]
    assert len(cuts) == 288 == len({cut.id for cut in cuts})
    assert sum(cut.fps == 8.0 for cut in cuts) == 288 // 4
    assert len({cut.source.id for cut in cuts}) == 4
    levels = read_cut(cuts[0], BOX).pixels[:, 0, 0, 0].astype(int)
    np.testing.assert_allclose(np.diff(levels), 16, atol=5)  # H.264


def test_a_folders_hash_follows_its_bytes_and_not_its_place(tmp_path: Path) -> None:
    here, there = generated(tmp_path / "a"), generated(tmp_path / "b")

    assert sha256(here) == sha256(there)
    (there / "0.mkv").write_bytes(b"else")
    assert sha256(here) != sha256(there)
    facts = [ClipRecord(str(number), f"{number}.mkv", 8.0, "a video") for number in range(3)]
    write_manifest(here, facts)
    assert sha256(here) != sha256(generated(tmp_path / "c"))  # its prompts are others


def sha256(folder: Path) -> str:
    return sources_sha256(with_content(open_clips(folder)))


def test_a_missing_folder_an_empty_one_and_loose_pictures_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such folder; give one with clips or shards"):
        open_clips(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"holds no clips; expected manifest\.json, \*\.tar shards, \.mp4"):
        open_clips(tmp_path)
    Image.new("RGB", (16, 16)).save(tmp_path / "0.png")
    with pytest.raises(UserError, match=r"loose \.png files; put the frames of each clip into a folder of its own"):
        open_clips(tmp_path)


def test_a_manifest_may_not_reach_out_of_its_folder(tmp_path: Path) -> None:
    generated(tmp_path / "a")
    (tmp_path / "b").mkdir()
    write_manifest(tmp_path / "b", [ClipRecord("x", "../a/0.mkv", 8.0)])

    with pytest.raises(UserError, match=r"clips\.0\.file: must be in the folder of the manifest, got `\.\./a"):
        open_clips(tmp_path / "b")


@pytest.mark.parametrize("keep", [700, 2000])  # bytes: inside the first header or video
def test_half_a_shard_is_named(tmp_path: Path, keep: int) -> None:
    path = shard(tmp_path / "00000.tar")
    path.write_bytes(path.read_bytes()[:keep])

    with pytest.raises(
        UserError, match=r"00000\.tar: cut or damaged inside `clip-0\.mp4` \(\d+ bytes\); fetch or write"
    ):
        open_clips(tmp_path)


def test_a_rate_outside_the_protocol_is_refused_unless_forced(tmp_path: Path) -> None:
    sources = open_clips(generated(tmp_path / "made", fps=10.0))

    with pytest.raises(
        UserError,
        match=r"3 of 3 generated clips .*`0`: made for 10 fps, but protocol shapes-tiny measures 4, 8, 16 only",
    ):
        plan_generated(sources, PROTOCOL)
    assert plan_generated(sources, PROTOCOL, force=True)[0].fps == 10.0


def test_an_fps_of_zero_is_refused(tmp_path: Path) -> None:
    generated(tmp_path)
    write_manifest(tmp_path, [ClipRecord("0", "0.mkv", 0.0)])

    with pytest.raises(UserError, match=r"clips.0.fps: must be a finite number ≥ 1e-06 and ≤ 1000000, got 0\.0"):
        open_clips(tmp_path)


def test_short_clips_and_short_videos_are_named_with_what_they_need(tmp_path: Path) -> None:
    short = plan_generated(open_clips(generated(tmp_path / "made", frames=5)), PROTOCOL)
    with pytest.raises(UserError, match=r"0\.mkv: has 5 frames, but number 9 is needed"):
        read_cut(short[0], BOX)

    (tmp_path / "real").mkdir()
    write_lossless(tmp_path / "real" / "a.mkv", ramp(20), 32.0)
    with pytest.raises(UserError, match=r"20 frames at 32 fps, but 9 frames at 4 fps need 2 s"):
        plan_real(open_clips(tmp_path / "real"), [4.0])


def pictures(folder: Path, level: int = 0) -> Path:
    folder.mkdir(parents=True)
    for number, frame in enumerate(ramp(9, 16)):
        Image.fromarray(frame + np.uint8(level)).save(folder / f"{number:03}.png")
    return folder


def test_pictures_and_arrays_are_clips_at_the_rate_that_is_given(tmp_path: Path) -> None:
    pictures(tmp_path / "deep" / "a")
    np.save(tmp_path / "b.npy", ramp(9, 16))

    with pytest.raises(
        UserError, match=r"fps: .*2 clips are images or arrays, which have no frame rate; give it, or list files"
    ):
        open_clips(tmp_path)
    sources = open_clips(tmp_path, fps=8.0)

    assert [source.id for source in sources] == ["b.npy", "deep/a"]
    for cut in plan_generated(sources, PROTOCOL):
        np.testing.assert_array_equal(read_cut(cut, BOX).pixels, ramp(9, 16))


def test_arrays_of_floats_are_refused_with_the_way_to_mend_them(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ramp(9, 16) / 127.5 - 1)
    cut = plan_generated(open_clips(tmp_path, fps=8.0), PROTOCOL)[0]

    with pytest.raises(
        UserError, match=r"in 0\.\.255, got float64; convert x in \[-1, 1\] by numpy\.round\(\(x \+ 1\)"
    ):
        read_cut(cut, BOX)


def test_pictures_of_sixteen_bits_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.fromarray(np.full((16, 16), 4000, np.uint16)).save(tmp_path / "a" / "0.png")

    with pytest.raises(UserError, match=r"0\.png: has pixels of more than 8 bits \(mode I;16\); save the image"):
        open_clips(tmp_path, fps=8.0)[0].read()


def test_prompts_find_their_clips_with_and_without_suffix(tmp_path: Path) -> None:
    for name in ("a.mkv", "b.mkv"):
        write_lossless(tmp_path / name, ramp(9, 16), 8.0)

    sources = with_prompts(open_clips(tmp_path), {"a": "first", "b.mkv": "second"})

    assert [source.prompt for source in sources] == ["first", "second"]


def test_prompts_that_do_not_match_are_counted_on_both_sides(tmp_path: Path) -> None:
    for name in ("a.mkv", "b.mkv"):
        write_lossless(tmp_path / name, ramp(9, 16), 8.0)

    with pytest.raises(
        UserError,
        match=r"2 clips and 3 prompts do not match: 1 clips without a prompt, first `b\.mkv`; 2 prompts without",
    ):
        with_prompts(open_clips(tmp_path), {"a": "first", "c": "third", "d": "fourth"})
