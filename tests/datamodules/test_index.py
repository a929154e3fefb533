import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from datamodules.index import build_index, folder_sha256, load_index
from datamodules.shards import SampleError
from mav_lightning.common.errors import UserError

MakeShard = Callable[..., Path]
MakeMp4 = Callable[..., bytes]


def test_every_member_is_found_by_its_offset(make_shard: MakeShard, make_mp4: MakeMp4, png: bytes) -> None:
    video = make_mp4(12, fps=25.0)
    members = [("0.mp4", video), ("0.txt", b"grey"), ("./sub/1.png", png), ("./sub/1.npy", b"?")]
    folder = make_shard(members).parent

    index = build_index(folder)

    (shard, clip), (_, image) = index
    assert index.read(shard, clip, {"mp4", "txt"}) == {"mp4": video, "txt": b"grey"}
    assert index.read(shard, image, {"png"}) == {"png": png}
    assert (clip.media.frames, clip.media.fps, clip.media.width) == (12, 25.0, 16)
    assert (image.key, image.media.frames, image.media.fps) == ("sub/1", 1, None)
    assert load_index(folder) == index


def test_identity_is_content_and_order_but_not_place(clip_folder: Path, tmp_path: Path, make_shard: MakeShard) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(clip_folder, elsewhere)
    same = build_index(elsewhere).sha256
    first, second = elsewhere / "00000.tar", elsewhere / "00001.tar"
    first.rename(elsewhere / "x")
    second.rename(first)
    (elsewhere / "x").rename(second)

    assert same == load_index(clip_folder).sha256
    assert build_index(elsewhere).sha256 != same


def test_identity_of_a_data_set_tells_its_splits_apart(clip_folder: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        shutil.copytree(clip_folder, tmp_path / "a" / "clips" / split)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    shutil.copytree(clip_folder, tmp_path / "c" / "clips" / "train")

    assert folder_sha256(tmp_path / "a") == folder_sha256(tmp_path / "b") != folder_sha256(tmp_path / "c")


@pytest.mark.parametrize("where", ["in a member", "in a header", "between members"])
def test_a_cut_shard_is_refused_and_no_index_is_written(clip_folder: Path, where: str) -> None:
    (shard, sample), *_ = list(load_index(clip_folder))[2:]
    member = sample.members["mp4"]
    end = {"in a member": member.offset + 7, "in a header": member.offset - 100, "between members": member.offset - 512}
    path = clip_folder / shard.name
    path.write_bytes(path.read_bytes()[: end[where]])

    with pytest.raises(UserError, match=r"00000\.tar: \d+ bytes, but \d+ when it was indexed: cut or rewritten"):
        load_index(clip_folder)
    (clip_folder / "index.json").unlink()
    with pytest.raises(UserError, match=r"00000\.tar: cut or damaged.*; fetch or write the shard again"):
        build_index(clip_folder)
    assert not (clip_folder / "index.json").exists()


def test_bad_samples_are_recorded_and_the_rest_is_usable(make_shard: MakeShard, png: bytes) -> None:
    make_shard(
        [
            ("good.png", png),
            ("../../etc/evil.png", png),
            ("text.txt", b"alone"),
            ("pickle.pkl", b"cos\nsystem\n"),
            ("case.png", png),
            ("case.PNG", png),
            ("broken.png", png[:20]),
            ("apart.png", png),
            ("between.png", png),
            ("apart.txt", b"late"),
        ]
    )
    folder = make_shard([("good.png", png), ("other.png", png)]).parent

    index = build_index(folder)

    reasons = {name.partition(":")[2]: reason for name, reason in index.errors.items()}
    assert [sample.key for _, sample in index if sample.error is None] == ["good", "between", "other"]
    assert "not a safe name" in reasons["../../etc/evil"]
    assert reasons["text"] == reasons["pickle"] == "holds no video or image"
    assert "holds `.png` twice" in reasons["case"]
    assert "not a readable JPEG, PNG or WebP" in reasons["broken"]
    assert "not adjacent" in reasons["apart"]
    assert "already used in 00000.tar" in index.errors["00001.tar:good"]


def test_a_flipped_byte_is_never_decoded(clip_folder: Path) -> None:
    index = load_index(clip_folder)
    shard, sample = next(iter(index))
    path, data = clip_folder / shard.name, bytearray((clip_folder / shard.name).read_bytes())
    data[sample.members["mp4"].offset + 200] ^= 1
    path.write_bytes(data)

    with pytest.raises(SampleError, match=r"`\.mp4` has changed since it was indexed; restore 00000\.tar"):
        load_index(clip_folder).read(shard, sample, {"mp4"})


def test_an_index_about_other_shards_is_stale(clip_folder: Path) -> None:
    shutil.copy(clip_folder / "00000.tar", clip_folder / "00007.tar")

    with pytest.raises(
        UserError, match=r"is stale, 00007\.tar added or removed since; restore, or run `mav data index"
    ):
        load_index(clip_folder)


def test_missing_and_foreign_indexes_are_told_apart(clip_folder: Path, tmp_path: Path) -> None:
    path = clip_folder / "index.json"
    content = json.loads(path.read_text())

    for change, message in [
        ({**content, "version": 99}, "index version 99, this program writes 1"),
        ({**content, "sha256": "0"}, "has been edited or damaged"),
        ({"hello": 1}, "not a shard index"),
        ([], "not a shard index"),
    ]:
        path.write_text(json.dumps(change))
        with pytest.raises(UserError, match=f"{message}.*; run `mav data index {clip_folder}`"):
            load_index(clip_folder)
    path.unlink()
    with pytest.raises(UserError, match="no such index; run `mav data index"):
        load_index(clip_folder)
    with pytest.raises(UserError, match=r"holds no \.tar shards"):
        build_index(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        build_index(tmp_path / "nowhere")
