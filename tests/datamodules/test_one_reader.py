"""One folder of shards gives the same samples, captions and refusals to everything that reads it."""

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from datamodules import sample_reader
from datamodules.datamodule import ClipData, ImageData
from datamodules.decoders import ClipDecoder
from datamodules.embedding_cache import read_embeddings, write_embeddings
from datamodules.fps_sampler import UniformFps
from datamodules.index import Index, build_index
from datamodules.lint import lint
from datamodules.packing import pack
from datamodules.sample_reader import SampleReader
from datamodules.shard_urls import shard_urls
from datamodules.streaming import StreamingLoader
from evaluation.folders import open_clips
from evaluation.motion.survey import motion_of
from mav_lightning.common import retries
from mav_lightning.common.errors import UserError
from mav_lightning.common.retries import MachineError

MakeShard = Callable[..., Path]
MakeMp4 = Callable[..., bytes]
CAPTIONS = {
    "plain": ({"txt": b"a cat"}, "a cat"),
    "mit Umlaut ä": ({"txt": "\ufeffein Bär\r\n".encode()}, "ein Bär"),
    "猫/映像 1": ({"json": json.dumps({"caption": "猫"}).encode()}, "猫"),
    "list": ({"json": b'{"captions": ["first", "second"]}'}, "first"),
    "number": ({"json": b'{"caption": 1984}'}, "1984"),
    "both": ({"txt": b"text", "json": b'{"caption": "json"}'}, "text"),
    "none": ({"json": b"[1, 2]"}, None),
    "separators": ({"txt": "a\u2028b\x85c".encode()}, "a\u2028b\x85c"),
}


@pytest.fixture
def folder(make_shard: MakeShard, make_mp4: MakeMp4) -> Path:
    """Good samples of every kind, in two shards, with hidden members between them."""
    video = make_mp4(12, fps=8.0)
    members = []
    for key, (texts, _) in CAPTIONS.items():
        members.append((f"._{key.rpartition('/')[2]}.mp4", b"\0"))
        members += [(f"{key}.{suffix}", data) for suffix, data in {"mp4": video, **texts}.items()]
    make_shard(members[:9])
    return make_shard(members[9:]).parent


REFUSED = [
    ("../../evil.mp4", "../../evil", "is not a safe name"),
    ("take.1.mp4", "take", "a key ends at the first dot"),
    ("twice.mp4", "twice", "its members are not adjacent"),
    ("alone.txt", "alone", "holds no video"),
    ("a\x1b[31m.mp4", r"a\x1b[31m", "without control characters"),
]


def captions(index: Index) -> dict[str, str | None]:
    from mav_lightning.shards.sample_facts import read_caption

    return {sample.key: read_caption(index.read(shard, sample, {"txt", "json"})) for shard, sample in index}


def test_every_reader_sees_the_same_samples_and_captions(folder: Path) -> None:
    wanted = {key: caption for key, (_, caption) in CAPTIONS.items()}

    index = build_index(folder)
    clips = {source.id.partition("/")[2]: source for source in open_clips(folder)}
    measured = motion_of(folder, 4)
    reader = SampleReader(index, ClipDecoder(8, 5, UniformFps(4, 8)), seed=0)
    streamed = StreamingLoader(shard_urls(folder), ClipDecoder(8, 5, UniformFps(4, 8)), 4, seed=0, shuffle=4)
    write_embeddings(folder, lambda pixels: torch.ones(len(pixels), 3), "e", size=8)

    assert captions(index) == {key: source.prompt for key, source in clips.items()} == wanted
    assert {sample.key for _, sample in index if sample.captioned} == wanted.keys() - {"none"}
    assert {index[number][1].key for number in reader.numbers.tolist()} == wanted.keys()
    assert {key for batch, _ in zip(streamed, range(12), strict=False) for key in batch.key} == wanted.keys()
    assert {name.partition("/")[2].rpartition("@")[0] for name in measured["clips"]} == wanted.keys()
    assert read_embeddings(index, "e").present.all()
    assert not index.errors and not lint(folder)[0].problems and lint(folder)[0].uncaptioned == 1
    assert sum(shard.hidden for shard in index.shards) == len(CAPTIONS)


@pytest.mark.parametrize("through", ["folder", "files", "chain", "blobs", "parent"])
def test_links_lead_every_reader_to_the_same_samples(folder: Path, tmp_path: Path, through: str) -> None:
    linked = tmp_path / "linked" / "part"
    linked.parent.mkdir()
    if through in ("folder", "chain"):
        (tmp_path / "hop").symlink_to(folder)
        linked.symlink_to(folder if through == "folder" else "../hop")
    elif through == "parent":
        (tmp_path / "linked" / "up").symlink_to(folder.parent)
        linked = tmp_path / "linked" / "up" / folder.name
    else:
        linked.mkdir()
        for number, shard in enumerate(sorted(folder.glob("*.tar"))):
            blob = shard.rename(tmp_path / f"0f3a{number}") if through == "blobs" else shard
            (linked / shard.name).symlink_to(blob)
            if through == "blobs":
                shard.symlink_to(os.path.relpath(blob, folder))

    one, other = build_index(folder), build_index(linked)
    decoder = ClipDecoder(8, 5, UniformFps(4, 8))
    first, second = (SampleReader(index, decoder, seed=0) for index in (one, other))

    assert one.sha256 == other.sha256 and captions(one) == captions(other)
    assert [(clip.id, clip.prompt, clip.sha256()) for clip in open_clips(folder)] == [
        (clip.id, clip.prompt, clip.sha256()) for clip in open_clips(linked)
    ]
    assert motion_of(folder, 4)["clips"] == motion_of(linked, 4)["clips"]
    for number in range(len(first)):
        np.testing.assert_array_equal(first.read(number, 0, {}).frames, second.read(number, 0, {}).frames)


@pytest.mark.parametrize(("name", "key", "reason"), REFUSED)
def test_every_reader_refuses_the_same_samples_for_the_same_reason(
    folder: Path, make_shard: MakeShard, make_mp4: MakeMp4, name: str, key: str, reason: str
) -> None:
    video = make_mp4(12, fps=8.0)
    make_shard([(name, video), ("good.mp4", video), *([("twice.txt", b"late")] if name == "twice.mp4" else [])])

    index = build_index(folder)
    place = f"00002.tar:{key}"

    assert list(index.errors) == [place] and reason in index.errors[place]
    assert reason in lint(folder)[0].problems[place]
    for call in (open_clips, lambda path: motion_of(path, 4)):
        with pytest.raises(UserError) as caught:
            call(folder)
        assert "samples of" in str(caught.value) and f"`{place}`" in str(caught.value) and reason in str(caught.value)
    reader = SampleReader(index, ClipDecoder(8, 5, UniformFps(4, 8)), seed=0)
    assert len(reader) == len(CAPTIONS) + 1
    done = write_embeddings(folder, lambda pixels: torch.ones(len(pixels), 3), "e", size=8)
    assert [list(bad) for bad in done.values()] == [[place]]


def test_packed_files_come_back_with_their_names_and_captions(tmp_path: Path, make_mp4: MakeMp4) -> None:
    src = tmp_path / "src"
    src.mkdir()
    for number, key in enumerate(("a b", "猫", "x.1")):
        (src / f"{key}.mp4").write_bytes(make_mp4(10 + number, fps=8.0))
    (tmp_path / "c.csv").write_text('caption,file\n"one, two",a b.mp4\n三,猫.mp4\nx,x.1.mp4\n', encoding="utf-8")
    pack(src, tmp_path / "c.csv", tmp_path / "out", val=0)

    index = build_index(tmp_path / "out" / "clips" / "train")
    stills = next(iter(ImageData(tmp_path / "out", 8, 12).train_dataloader()))

    told = {json.loads(index.read(shard, one, {"json"})["json"])["file"]: caption for (shard, one), caption in
            zip(index, captions(index).values(), strict=True)}  # fmt: skip
    assert told == {"a b.mp4": "one, two", "猫.mp4": "三", "x.1.mp4": "x"}
    assert {source.prompt for source in open_clips(tmp_path / "out", split="train")} == set(told.values())
    assert set(stills.caption or []) == set(told.values())


@pytest.mark.parametrize("code", [5, 24, 12, 116])  # EIO, EMFILE, ENOMEM, ESTALE
def test_an_error_of_the_machine_is_no_bad_sample(folder: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    index = build_index(folder)
    reader = SampleReader(index, ClipDecoder(8, 5, UniformFps(4, 8)), seed=0)
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    real, failures = os.pread, [OSError(code, os.strerror(code))] * 3

    def pread(file: int, size: int, offset: int) -> bytes:
        if failures:
            raise failures.pop()
        return real(file, size, offset)

    monkeypatch.setattr(os, "pread", pread)
    bad: dict[str, str] = {}
    assert reader.read(0, 0, bad).key == "plain" and not bad and waits == [0.5, 1.0, 2.0]

    failures += [OSError(code, os.strerror(code))] * (len(retries.WAITS) + 1)
    with pytest.raises(MachineError, match=rf"00000\.tar: cannot be read after 6 attempts \({os.strerror(code)}\)"):
        reader.read(0, 0, bad)
    assert not bad
    for stops in (lambda: lint(folder, processes=0), lambda: write_embeddings(folder, torch.ones_like, "e", size=8)):
        failures[:] = [OSError(code, os.strerror(code))] * 99
        with pytest.raises(MachineError):
            stops()


def test_bytes_that_fail_their_checksum_are_a_bad_sample(folder: Path) -> None:
    index = build_index(folder)
    shard, sample = index[0]
    data = bytearray((folder / shard.name).read_bytes())
    data[sample.members["mp4"].offset + 9] ^= 1
    (folder / shard.name).write_bytes(data)
    reader = SampleReader(index, ClipDecoder(8, 5, UniformFps(4, 8)), seed=0)
    bad: dict[str, str] = {}

    assert reader.read(0, 0, bad).key == "mit Umlaut ä"
    assert list(bad) == ["00000.tar:plain"]


def test_a_decoder_is_asked_once_for_samples_it_cannot_tell_apart(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Asked(ClipDecoder):
        def refusal(self, *about: object) -> str | None:
            asked.append(about)
            return None

    monkeypatch.setattr(sample_reader, "_held", lambda sample: sorted(sample.members))
    reader = SampleReader(build_index(folder), Asked(8, 5, UniformFps(4, 8)), seed=0)

    assert len(reader) == 8 and len(asked) == 4  # txt; json with and without a caption; both


def test_too_few_clips_are_refused_before_anything_is_read(folder: Path) -> None:
    build_index(folder)
    data = ClipData(folder.parent, 8, 5, UniformFps(4, 8), batch_size=9)

    with pytest.raises(UserError, match="8 usable training samples do not fill one step of 9"):
        data.setup("fit")


def test_checksums_are_those_of_the_members(folder: Path) -> None:
    index = build_index(folder)

    for shard, sample in index:
        for suffix, data in index.read(shard, sample, sample.members.keys()).items():
            assert zlib.crc32(data) == sample.members[suffix].crc32
    assert np.array_equal(index.table.usable, np.ones(8, np.bool_))
