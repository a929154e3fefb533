"""Folders of clips as people have them: nothing is dropped in silence, and no kind hides another."""

import logging
import os
import shutil
import tarfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from clip_folders import SERIES, ids, numbers, ramp, write_animation, write_frames, write_shard, write_video
from PIL import Image

from evaluation.clip_listing import list_clips
from evaluation.folders import open_clips, with_prompts
from mav_lightning.common.errors import UserError
from mav_lightning.common.manifest import ClipRecord, write_manifest


@pytest.mark.parametrize("kind", SERIES)
def test_frames_are_read_in_the_order_of_their_numbers(kind: str, tmp_path: Path) -> None:
    write_frames(tmp_path / "clip", SERIES[kind])
    (source,) = open_clips(tmp_path, fps=8.0)
    assert numbers(source.read()) == list(range(16))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["0.png", "1.png", "cover.jpg"], "holds frames and other images"),
        (["frame_0.png", "frame_1.png", "mask_0.png", "mask_1.png"], "2 like `frame_0.png`, 2 like `mask_0.png`"),
        (["0.png", "00.png"], "holds a frame twice"),
        (["cat.png", "apple.png"], r"hold no numbers \(apple\.png, cat\.png\), so their order is not clear"),
        (["0.png", "0.jpg", "1.png"], r"holds a frame twice \(0\.jpg, 0\.png\); keep one"),
    ],
)
def test_images_that_are_no_single_series_are_refused_by_name(names: list[str], message: str, tmp_path: Path) -> None:
    write_frames(tmp_path / "clip", names)
    with pytest.raises(UserError, match=message):
        open_clips(tmp_path, fps=8.0)[0].read()


def test_frames_of_different_sizes_are_refused(tmp_path: Path) -> None:
    write_frames(tmp_path / "clip", ["0.png", "1.png"])
    Image.new("RGB", (8, 8)).save(tmp_path / "clip" / "1.png")
    with pytest.raises(UserError, match="frames of different sizes; write them again at one size"):
        open_clips(tmp_path, fps=8.0)[0].read()


@pytest.mark.parametrize("name", ["0.tar.gz", "deep/0.tgz", "0.TAR.ZST"])
@pytest.mark.parametrize("beside", [False, True])
def test_compressed_shards_are_refused_and_never_passed_over(name: str, beside: bool, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"\x1f\x8b")
    if beside:
        write_video(tmp_path / "a.mp4")
    with pytest.raises(UserError, match="holds 1 compressed shard, such as .*unpack them, for example .tar.gz"):
        open_clips(tmp_path)


def test_all_kinds_beside_each_other_are_clips(tmp_path: Path) -> None:
    for name in ("a", "b", "deep/c"):
        write_frames(tmp_path / name, SERIES["no width"])
    write_video(tmp_path / "preview.mp4")
    Image.fromarray(ramp()[0]).save(tmp_path / "x.gif", save_all=True, append_images=[Image.fromarray(ramp()[9])])
    images = [Image.fromarray(frame) for frame in ramp(4)]
    images[0].save(tmp_path / "moving.webp", save_all=True, append_images=images[1:], duration=100)
    np.save(tmp_path / "d.npy", ramp())
    write_shard(tmp_path / "0.tar")
    assert ids(tmp_path) == ["0/e", "a", "b", "d.npy", "deep/c", "moving.webp", "preview.mp4", "x.gif"]


@pytest.mark.parametrize("suffix", ["mp4", "MP4", "mov", "m4v", "3gp", "Mkv"])
def test_every_suffix_of_a_video_counts_in_any_case(suffix: str, tmp_path: Path) -> None:
    write_video(tmp_path / f"a.{suffix}")
    assert ids(tmp_path) == [f"a.{suffix}"]


def test_what_this_project_writes_beside_shards_is_not_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    own = ["index.safetensors", "embeddings-0123.safetensors", "latents-0123-64-00000.safetensors"]
    with tarfile.open(tmp_path / "00000.tar", "w") as shard:
        shard.add(write_video(tmp_path / "videos" / "a.mp4"), "a.mp4")
    shutil.rmtree(tmp_path / "videos")
    for name in own:
        (tmp_path / name).write_bytes(b"x")
    with caplog.at_level(logging.WARNING):
        assert list_clips(tmp_path).unused == {}
        (tmp_path / "00000.tar").unlink()
        assert list_clips(tmp_path).unused == {"not media": sorted(own)}


def test_what_is_not_used_is_counted_and_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_video(tmp_path / "a.mp4")
    for name in ("._a.mp4", "notes.txt", "b.flv", "a.jpg", ".ipynb_checkpoints/a.mp4", "__MACOSX/a.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with caplog.at_level(logging.WARNING):
        assert ids(tmp_path) == ["a.mp4"]
    (line,) = [record.getMessage() for record in caplog.records]
    assert "6 not used: 3 hidden" in line
    assert "1 of formats that are not read; convert them to .mp4 or .png (`b.flv`)" in line
    assert "1 images beside clips" in line and "`a.jpg`" in line and "1 not media (`notes.txt`)" in line


def test_a_folder_of_clips_alone_is_opened_without_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_video(tmp_path / "a.mp4")
    assert ids(tmp_path) == ["a.mp4"] and not caplog.records


def test_clips_that_the_manifest_does_not_list_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_video(tmp_path / "a.mp4")
    write_video(tmp_path / "b.mp4")
    write_frames(tmp_path / "c", SERIES["no width"])
    write_manifest(tmp_path, [ClipRecord("a", "a.mp4", 8.0)])
    Image.new("RGB", (8, 8)).save(tmp_path / "sheet.png")
    with caplog.at_level(logging.WARNING):
        assert [source.id for source in open_clips(tmp_path)] == ["a"]
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.endswith("2 not used: 2 clips that manifest.json does not list (`b.mp4`, `c`)")


def test_linked_folders_are_clips_too_and_loops_end(tmp_path: Path) -> None:
    write_video(tmp_path / "disk2" / "b.mp4")
    write_video(tmp_path / "root" / "a.mp4")
    (tmp_path / "root" / "part2").symlink_to(tmp_path / "disk2")
    (tmp_path / "root" / "loop").symlink_to("..")
    assert ids(tmp_path / "root") == ["a.mp4", "part2/b.mp4"]


@pytest.mark.parametrize(
    "preview",
    ["a/preview.gif", "a/a.mp4", "a/flow.npy", "a/x.webp", "a/preview.png", "a/masks/0.png", "a/Thumbs/t.jpg"],
)
def test_frames_beside_what_may_be_their_preview_are_refused(preview: str, tmp_path: Path) -> None:
    write_frames(tmp_path / "a", SERIES["one width"])
    path = tmp_path / preview
    if path.suffix == ".mp4":
        write_video(path)
    elif path.suffix == ".npy":
        np.save(path, ramp())
    elif path.parent != tmp_path / "a":
        write_frames(path.parent, [path.name])
    else:
        write_animation(path)
    with pytest.raises(UserError, match=r"a: holds 16 numbered images, such as `000000\.jpg`, beside 1 clip; put the"):
        ids(tmp_path)


def test_loose_frames_beside_their_preview_are_refused(tmp_path: Path) -> None:
    write_frames(tmp_path, SERIES["no width"])
    write_video(tmp_path / "preview.mp4")
    with pytest.raises(UserError, match=r"holds 16 numbered images, such as `0\.png`, beside 1 clip"):
        ids(tmp_path)


@pytest.mark.parametrize(
    ("previews", "reason"),
    [
        (["1.jpg", "2.JPG"], "images beside clips, not frames of one"),
        (["1_thumb.png", "2_thumb.png", "poster.webp", "cover.png"], "images beside clips, not frames of one"),
        (["posters/1.jpg", "posters/2.jpg"], "images with the names of videos"),
        (["thumbs/deep/2.JPEG"], "images with the names of videos"),
    ],
)
def test_previews_of_videos_are_no_clips_and_are_named(
    previews: list[str], reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("1.mp4", "2.mp4"):
        write_video(tmp_path / name)
    for preview in previews:
        write_frames((tmp_path / preview).parent, [Path(preview).name])
    with caplog.at_level(logging.WARNING):
        assert [source.id for source in open_clips(tmp_path)] == ["1.mp4", "2.mp4"]
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"{len(previews)} not used: {len(previews)} {reason} (" in line


def test_frames_with_the_names_of_some_videos_are_refused(tmp_path: Path) -> None:
    for number in range(4):
        write_video(tmp_path / "videos" / f"{number}.mp4")
    write_frames(tmp_path / "frames" / "a", ["0.png", "1.png", "2.png"])
    with pytest.raises(UserError, match=r"a: holds 3 numbered images, such as `0\.png`, with the names of some of the"):
        ids(tmp_path)
    write_frames(tmp_path / "frames" / "a", ["3.png", "4.png"])
    assert ids(tmp_path)[0] == "frames/a"


def test_posters_beside_folders_of_frames_are_no_clips(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("x/0", "x/1"):
        write_frames(tmp_path / name, SERIES["no width"])
    write_frames(tmp_path / "x", ["0.jpg", "1.jpg", "sheet.png"])
    with caplog.at_level(logging.WARNING):
        assert ids(tmp_path) == ["x/0", "x/1"]
    assert "3 images beside clips, not frames of one (`x/0.jpg`, `x/1.jpg`, `x/sheet.png`)" in caplog.text


def test_images_beside_shards_are_no_frames(tmp_path: Path) -> None:
    write_shard(tmp_path / "clips" / "val" / "0.tar")
    write_frames(tmp_path / "clips" / "val", SERIES["no width"])
    write_frames(tmp_path, SERIES["no width"])
    assert ids(tmp_path) == ["0/e"]
    assert [source.id for source in open_clips(tmp_path / "clips")] == ["val/0/e"]


def test_an_animated_png_is_a_clip_like_an_animated_webp(tmp_path: Path) -> None:
    for name in ("a.png", "b.webp"):
        write_animation(tmp_path / name)
    assert [(source.id, len(source.read())) for source in open_clips(tmp_path)] == [("a.png", 4), ("b.webp", 4)]


def test_arrays_that_are_not_read_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_video(tmp_path / "a.mp4")
    np.savez(tmp_path / "b.npz", ramp())
    with caplog.at_level(logging.WARNING):
        assert ids(tmp_path) == ["a.mp4"]
    assert "1 arrays that are not read; write each clip with numpy.save (`b.npz`)" in caplog.text


def test_loose_images_are_no_clip(tmp_path: Path) -> None:
    write_frames(tmp_path, SERIES["one width"])
    with pytest.raises(UserError, match=r"loose \.jpg files; put the frames of each clip into a folder of its own"):
        open_clips(tmp_path, fps=8.0)


def test_prompts_find_clips_in_whatever_unicode_form_their_names_are(tmp_path: Path) -> None:
    write_video(tmp_path / unicodedata.normalize("NFD", "café.mp4"))
    (source,) = with_prompts(open_clips(tmp_path), {unicodedata.normalize("NFC", "café"): "a cup"})
    assert source.prompt == "a cup"


def test_names_that_are_no_utf_8_are_clips(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4").rename(tmp_path / os.fsdecode(b"caf\xe9.mp4"))
    write_frames(tmp_path / os.fsdecode(b"b\xe9"), SERIES["no width"])
    sources = open_clips(tmp_path, fps=8.0)
    assert len(sources) == 2 and all(len(source.read()) == 16 for source in sources)
    assert len({source.sha256() for source in sources}) == 2


def test_padding_does_not_change_what_is_measured(tmp_path: Path) -> None:
    padded = write_frames(tmp_path / "padded" / "clip", [f"{number:03}.png" for number in range(16)])
    unpadded = write_frames(tmp_path / "unpadded" / "clip", [f"{number}.png" for number in range(16)])
    first, second = (open_clips(folder.parent, fps=8.0)[0].read() for folder in (padded, unpadded))
    np.testing.assert_array_equal(first, second)
    shutil.rmtree(padded)
    with pytest.raises(UserError, match="holds no clips; expected manifest"):
        open_clips(tmp_path / "padded")
