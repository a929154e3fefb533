import gzip
import hashlib
import json
import pickle
import random
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from datamodules.index import INDEX, Index, build_index, folder_sha256, load_index
from datamodules.index_table import SampleTable
from mav_lightning.common.errors import UserError
from mav_lightning.shards.samples import SampleError

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

    with pytest.raises(
        UserError, match=r"00000\.tar: \d+ bytes, but \d+ when it was indexed; it was truncated or rewritten"
    ):
        load_index(clip_folder)
    (clip_folder / INDEX).unlink()
    with pytest.raises(UserError, match=r"00000\.tar: .*damaged.*; fetch or write the shard again"):
        build_index(clip_folder)
    assert not (clip_folder / INDEX).exists()


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


@pytest.mark.parametrize("size", [0, 512, 1024, 10_240])  # bytes: nothing, or the zeros that end an archive
def test_a_shard_without_samples_is_empty_or_named(tmp_path: Path, size: int) -> None:
    (tmp_path / "00000.tar").write_bytes(bytes(size))
    if size:
        assert len(build_index(tmp_path)) == 0
    else:
        with pytest.raises(UserError, match=r"00000\.tar: cut or damaged, its end is missing; fetch or write"):
            build_index(tmp_path)


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
    path = clip_folder / INDEX
    again = rf"\. Run `mav data index {clip_folder}`"

    for content, message in [
        (save({"a": np.zeros(3)}, {"index": '{"version": "99"}'}), "not an index of version 2, but of 99"),
        (save({"a": np.zeros(3)}), "not an index of version 2, but of another kind"),
        (b"", r"damaged \(.*\)"),
        (b"{}", r"damaged \(.*\)"),
    ]:
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"{message}{again}"):
            load_index(clip_folder)
    path.unlink()
    with pytest.raises(UserError, match=f"no such index{again}"):
        load_index(clip_folder)
    with pytest.raises(UserError, match=r"holds no \.tar shards"):
        build_index(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        build_index(tmp_path / "nowhere")


def as_version_1(index: Index) -> dict[str, Any]:
    shards = [
        {"name": shard.name, "bytes": shard.bytes, "sha256": shard.sha256,
         "samples": [asdict(sample) for one, sample in index if one == shard]}
        for shard in index.shards
    ]  # fmt: skip
    return {"version": 1, "sha256": index.sha256, "shards": shards}


def test_an_index_of_version_1_is_read_until_it_is_written_anew(clip_folder: Path) -> None:
    index, old = load_index(clip_folder), clip_folder / "index.json"
    content = as_version_1(index)
    (clip_folder / INDEX).unlink()
    old.write_text(json.dumps(content))

    read = load_index(clip_folder)

    assert (read.sha256, list(read)) == (index.sha256, list(index))
    assert list(pickle.loads(pickle.dumps(read))) == list(index)
    for wrong in (
        {**content, "sha256": "0"}, {**content, "version": 7}, {"hello": 1}, [], 7, None, {**content, "shards": [1]},
        {**content, "shards": [{**content["shards"][0], "bytes": 10**30}]},
        {**content, "shards": [{**content["shards"][0], "bytes": 1}, content["shards"][1]]},
        {**content, "shards": [{**content["shards"][0], "samples": [{}]}]},
    ):  # fmt: skip
        old.write_text(json.dumps(wrong))
        with pytest.raises(UserError, match=r"index\.json: .*\. Run `mav data index"):
            load_index(clip_folder)
    old.write_text("[" * 100_000)
    with pytest.raises(UserError, match="not a shard index"):
        load_index(clip_folder)
    build_index(clip_folder)
    assert not old.exists()


def test_identity_and_order_are_those_of_the_first_version_of_the_index(make_shard: MakeShard, png: bytes) -> None:
    make_shard([("a.png", png), ("bad.txt", b"alone"), ("b.png", png)])
    folder = make_shard([("c é.png", png)]).parent
    index = build_index(folder)

    usable = [[shard.sha256, [sample.key for one, sample in index if one == shard and sample.error is None]]
              for shard in index.shards]  # fmt: skip
    assert usable[0][1] == ["a", "b"]
    assert index.sha256 == hashlib.sha256(json.dumps([1, usable]).encode()).hexdigest()


def test_an_index_with_a_changed_value_is_refused_or_the_same(clip_folder: Path) -> None:
    path, draw = clip_folder / INDEX, random.Random(0)
    content = path.read_bytes()
    whole = list(load_index(clip_folder))

    for _ in range(300):
        wrong = bytearray(content)
        wrong[draw.randrange(len(wrong))] ^= 1 << draw.randrange(8)
        path.write_bytes(wrong)
        try:
            assert list(load_index(clip_folder)) == whole
        except UserError:
            pass


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("offsets", lambda column: column + 10**9),
        ("sizes", lambda column: np.full_like(column, 2**63)),
        ("offsets", lambda column: np.full_like(column, 2**64 - 1)),
        ("suffixes", lambda column: column + 200),
        ("key_ends", lambda column: column[::-1].copy()),
        ("member_ends", lambda column: column + 1),
        ("media", lambda column: column * -1),
        ("media", lambda column: column * np.inf),
        ("media", lambda column: column * 0),
        ("media", lambda column: column[:, :1].copy()),
        ("captioned", lambda column: column[:-1].copy()),
        ("crc32", lambda column: column.astype(np.float32)),
        ("bad", lambda column: np.array([99], np.uint64)),
        ("keys", lambda column: column[:-1].copy()),
    ],
)
def test_columns_that_cannot_be_are_refused_even_with_a_hash_that_fits(
    clip_folder: Path, column: str, change: Callable[[Any], Any]
) -> None:
    path = clip_folder / INDEX
    about, table = SampleTable.load(path, "2")
    columns = {name: np.array(values) for name, values in table.columns.items()}
    SampleTable({**columns, column: change(columns[column])}).save(
        path, {name: about[name] for name in ("version", "sha256", "shards")}
    )

    with pytest.raises(UserError, match=r"damaged \(.*\)\. Run `mav data index"):
        load_index(clip_folder)


@pytest.mark.parametrize(
    "shards",
    [None, "", [], {}, 7, [["00000.tar", -1, "", 6, 0]], [["00000.tar", 1, "", -6, 0]], [["../x.tar", 1, "", 12, 0]],
     [["00000.tar", 1e99, "", 12, 0]], [["00000.tar", 10**30, "", 12, 0]], [[]], [["00000.tar"] * 5]],
)  # fmt: skip
def test_descriptions_of_shards_that_cannot_be_are_refused(clip_folder: Path, shards: Any) -> None:
    about, table = SampleTable.load(clip_folder / INDEX, "2")
    table.save(clip_folder / INDEX, {"version": about["version"], "sha256": "", "shards": shards})

    with pytest.raises(UserError, match="damaged|is stale|restore|of another kind"):
        load_index(clip_folder)


def test_another_process_maps_the_same_index(clip_folder: Path) -> None:
    index = load_index(clip_folder)

    assert len(pickle.dumps(index)) < 500
    assert list(pickle.loads(pickle.dumps(index))) == list(index)
    (clip_folder / "00001.tar").unlink()
    held = pickle.dumps(index)
    build_index(clip_folder)
    with pytest.raises(UserError, match="has changed while it was in use"):
        pickle.loads(held)


def test_all_damaged_shards_are_named_at_once(clip_folder: Path) -> None:
    (clip_folder / "00000.tar").write_bytes(b"x" * 5000)
    (clip_folder / "00001.tar").write_bytes(gzip.compress(b"x"))

    with pytest.raises(UserError) as caught:
        build_index(clip_folder)
    assert "00000.tar: not a tar, or damaged at byte 0" in str(caught.value)
    assert "00001.tar: compressed (gzip)" in str(caught.value)


def test_a_place_that_cannot_be_written_is_refused_before_any_shard_is_read(
    clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clip_folder / INDEX).unlink()
    (clip_folder / INDEX).mkdir()
    monkeypatch.setattr("datamodules.index.scan_shard", lambda path: pytest.fail("a shard was read"))

    with pytest.raises(UserError, match="is a folder; give the name of a file"):
        build_index(clip_folder)


@pytest.mark.parametrize("processes", [0, 2])
def test_any_number_of_processes_builds_the_same_index(clip_folder: Path, processes: int) -> None:
    content = (clip_folder / INDEX).read_bytes()

    build_index(clip_folder, processes=processes)

    assert (clip_folder / INDEX).read_bytes() == content


def test_each_shard_is_read_once_and_progress_counts_shards(clip_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[int, str]] = []

    def track(items: Iterable[Any], total: int, description: str) -> Iterable[Any]:
        steps.append((total, description))
        return items

    build_index(clip_folder, track)

    assert steps == [(2, f"indexing {clip_folder.parent.name}/train")]


def test_members_too_large_for_memory_are_never_allocated(make_shard: MakeShard, png: bytes) -> None:
    path = make_shard([("a.png", png)])
    data = bytearray(path.read_bytes())
    data[124:136] = (1 << 40).to_bytes(12, "big")
    data[124] = 0x80
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    path.write_bytes(data)

    with pytest.raises(UserError, match=r"cut or damaged inside `a\.png` \(1099511627776 bytes\)"):
        build_index(path.parent)
