"""The layouts of docs/datasets.md: a small shard of each, as its tool writes it, is indexed, chosen from and read.

Fields and names follow the sources of img2dataset (`downloader.py`) and video2dataset (`download_worker.py`,
`clipping_subsampler.py`, `data_writer.py`) and of the datasets' own tools.
"""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datamodules.datamodule import ClipData, ImageData
from datamodules.fps_sampler import UniformFps
from datamodules.index import build_index, load_index
from datamodules.packing import pack

Make = Callable[..., Path]
SUCCESS = {"status": "success", "error_message": None}


def members(key: str, meta: dict[str, Any], **data: bytes) -> list[tuple[str, bytes]]:
    """A sample as both tools write it: media, text, and the metadata with an indent of four."""
    content = json.dumps({**meta, "key": key}, indent=4).encode()
    return [(f"{key}.{suffix}", one) for suffix, one in {**data, "json": content}.items()]


def clips(root: Path, where: str | None = None) -> set[str]:
    data = ClipData(root, 8, 5, UniformFps(4, 16), batch_size=1, where=where)
    return {key for batch in data.train_dataloader() for key in batch.key}


def test_webvid_from_video2dataset(make_shard: Make, make_mp4: Callable[..., bytes], tmp_path: Path) -> None:
    def meta(seconds: int) -> dict[str, Any]:
        return {
            "url": "https://example.com/preview.mp4", "caption": "a beach", "videoid": 1066674784,
            "page_dir": "006001_006050", "duration": f"PT00H00M{seconds:02d}S", "yt_meta_dict": None,
        }  # fmt: skip

    samples = members("000000000", meta(1) | SUCCESS, mp4=make_mp4(20), m4a=b"audio", txt=b"a beach")
    samples += members("000000001", meta(3) | SUCCESS, mp4=make_mp4(60), txt=b"a beach")
    failed = {"status": "failed_to_download", "error_message": "HTTP Error 403: Forbidden"}
    samples += members("000000002", meta(5) | failed, txt=b"a beach")
    folder = make_shard(samples, "train").parent
    (folder / "00000.parquet").write_bytes(b"PAR1")
    (folder / "00000_stats.json").write_text("{}")

    assert build_index(folder).errors == {"00000.tar:000000002": "holds no video or image"}
    assert clips(tmp_path) == {"000000000", "000000001"}
    assert clips(tmp_path, "media.span >= 2") == {"000000001"}
    assert clips(tmp_path, "duration == 'PT00H00M01S'") == {"000000000"}


def test_hd_vila_from_video2dataset(make_shard: Make, make_mp4: Callable[..., bytes], tmp_path: Path) -> None:
    samples = []
    for clip, size in ((0, 16), (1, 32)):
        meta = {
            "url": "https://www.youtube.com/watch?v=x", "video_id": "x", "clips": [[clip * 4.0, clip * 4.0 + 4]],
            "yt_meta_dict": {"info": {"id": "x", "view_count": 12}, "subtitles": [{"start": "00:00:00.000"}]},
        }  # fmt: skip
        samples += members(f"00000000_{clip:05d}", meta | SUCCESS, mp4=make_mp4(30, size=size), m4a=b"audio")
    build_index(make_shard(samples).parent)

    assert clips(tmp_path) == {"00000000_00000", "00000000_00001"}
    assert clips(tmp_path, "status == 'success' and media.height >= 32") == {"00000000_00001"}
    assert len(clips(tmp_path, "yt_meta_dict.info.view_count > 10")) == 2


def test_laion_from_img2dataset_as_the_paper_filters_it(make_shard: Make, png: bytes, tmp_path: Path) -> None:
    samples = []
    texts = ["a lake", "a house", "a road", "a vile word", "a hill"]
    for number, (nsfw, watermark, text) in enumerate(
        zip(["UNLIKELY", "NSFW", "UNLIKELY", "UNLIKELY", "UNSURE"], [0.5, 0.1, 0.51, 0.2, 0.3], texts, strict=True)
    ):
        meta = {
            "NSFW": nsfw, "similarity": 0.31, "punsafe": 0.01, "pwatermark": watermark, "caption": text,
            "url": "https://example.com/a.jpg", "width": 8, "height": 8, "original_width": 640,
            "original_height": 480, "exif": "{}", "sha256": "0" * 64,
        }  # fmt: skip
        samples += members(f"{number:09d}", meta | SUCCESS, png=png, txt=text.encode())
    build_index(make_shard(samples, "train").parent)

    paper = 'pwatermark <= 0.5 and NSFW == "UNLIKELY" and\nnot ("vile" in caption or "cruel" in caption)'
    data = ImageData(tmp_path, 8, batch_size=1, where=paper)
    assert [(batch.key, batch.caption) for batch in data.train_dataloader()] == [(["000000000"], ["a lake"])]


@pytest.mark.skipif(shutil.which("tar") is None, reason="needs tar")
def test_panda_from_folders_of_files(make_mp4: Callable[..., bytes], tmp_path: Path) -> None:
    (tmp_path / "download" / "00000").mkdir(parents=True)
    (tmp_path / "shards" / "clips" / "train").mkdir(parents=True)
    for clip, score in ((0, "0.453857421875"), (1, "0.42")):
        meta = {
            "url": "https://www.youtube.com/watch?v=x", "caption": "a news anchor", "matching_score": score,
            "clips": "[('0:00:16.300', '0:00:32.566')]", "yt_meta_dict": {"info": {}},
        }  # fmt: skip
        for name, data in members(f"0000000_{clip:05d}", meta | SUCCESS, mp4=make_mp4(30), txt=b"a news anchor"):
            (tmp_path / "download" / "00000" / name).write_bytes(data)
    shard = tmp_path / "shards" / "clips" / "train" / "00000.tar"
    subprocess.run(["tar", "--sort=name", "-cf", shard, "-C", tmp_path / "download" / "00000", "."], check=True)

    assert not build_index(shard.parent).errors
    assert clips(tmp_path / "shards") == {"0000000_00000", "0000000_00001"}
    assert clips(tmp_path / "shards", "matching_score > 0.43") == {"0000000_00000"}


def test_openvid_packed_from_its_table(make_mp4: Callable[..., bytes], tmp_path: Path) -> None:
    (tmp_path / "openvid").mkdir()
    (tmp_path / "openvid" / "celebv_x_0.mp4").write_bytes(make_mp4(30))
    table = "file,caption,aesthetic score,motion score,temporal consistency score,camera motion,frame,fps,seconds\n"
    table += 'celebv_x_0.mp4,"In the video, a woman speaks.",5.2,3.1,0.99,static,30,20.0,1.5\n'
    (tmp_path / "openvid.csv").write_text(table)

    pack(tmp_path / "openvid", tmp_path / "openvid.csv", tmp_path / "out", val=0.0, stills=1)

    index = load_index(tmp_path / "out" / "clips" / "train")
    ((shard, sample),) = index
    facts = json.loads(index.read(shard, sample, ["json"])["json"])
    assert facts == {"file": "celebv_x_0.mp4", "caption": "In the video, a woman speaks.", "label": "", "group": ""}
