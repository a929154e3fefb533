"""Property: whatever the film, training, packing, evaluation and motion see the same frames, times and captions."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from films import make_film, numbered, numbers
from PIL import Image
from random_films import Film

from datamodules.decoders import ClipDecoder, ImageDecoder
from datamodules.embedding_cache import FRAMES, write_embeddings
from datamodules.fps_sampler import UniformFps
from datamodules.frame_cache import FrameCache
from datamodules.index import load_index
from datamodules.order import SampleContext, sample_rng
from datamodules.packing import pack
from datamodules.sample_reader import SampleReader
from evaluation.clip_sources import Clip
from evaluation.cuts import Cut, Window, read_cut, source_info
from evaluation.folders import open_clips
from evaluation.motion import survey
from evaluation.motion.survey import motion_of
from evaluation.resize import ResizeStep
from mav_lightning.cascade import clip_files
from mav_lightning.media.media_reader import open_media, read_clip
from mav_lightning.shards.sample_facts import read_caption


@pytest.mark.parametrize("seed", range(40))
def test_all_readers_see_the_same_film(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = Film(seed)
    (tmp_path / "videos").mkdir()
    path = tmp_path / "videos" / f"a.{film.suffix}"
    path.write_bytes(film.data)
    with open_media(path) as opened:
        np.testing.assert_allclose(opened.timeline.times, film.times, atol=2e-3)
        assert numbers(list(opened.frames(range(len(film.times))))) == film.shown, film.about

    trained(film)
    generated_from(film, path)
    packed(film, tmp_path)
    trained_from_shards(film, tmp_path / "out")
    for folder, caption in ((tmp_path / "videos", None), (tmp_path / "out" / "clips" / "train", film.caption)):
        evaluated(film, folder, caption)
        moved(film, folder, monkeypatch)


def trained(film: Film) -> None:
    rate = 0.6 * film.fps
    for seed, cache in ((0, FrameCache(0)), (1, FrameCache(1 << 24)), (2, FrameCache(1 << 24))):
        decoder, context = ClipDecoder(32, 5, UniformFps(rate, rate)), SampleContext(np.random.default_rng(seed))
        clip = decoder.decode("a", {film.suffix: film.data}, None, context, cache)
        again, twin = decoder, SampleContext(np.random.default_rng(seed))
        cached = again.decode("a", {film.suffix: film.data}, None, twin, cache)
        np.testing.assert_array_equal(clip.frames, cached.frames)
        rng = np.random.default_rng(seed)
        rng.uniform(rate, rate)
        span = float(film.times[-1])
        start = rng.uniform(0, max(span - 4 / rate, 0))
        assert clip.fps == pytest.approx(rate, rel=1e-3)
        assert numbers(clip.frames) == film.at(start + np.arange(5) / clip.fps)


def evaluated(film: Film, folder: Path, caption: str | None) -> None:
    (source,) = open_clips(folder)
    assert source.prompt == caption
    info = source_info(source)
    assert info.frames == len(film.times) and info.fps == pytest.approx(film.fps, rel=0.01)
    assert (info.width, info.height) == film.size
    by_number = read_cut(Window(6).cut("a", source, info.fps, 3), ())
    assert numbers(by_number.pixels) == film.shown[3:9]
    assert all(film.is_upright(frame) for frame in by_number.pixels)
    rate = 0.7 * film.fps
    by_time = read_cut(Window(4, rate).cut("a", source, info.fps, 0.1), ())
    assert numbers(by_time.pixels) == film.at(0.1 + np.arange(4) / rate)


def moved(film: Film, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Clip] = []

    def watched(cut: Cut, resize: Sequence[ResizeStep]) -> Clip:
        seen.append(read_cut(cut, resize))
        return seen[-1]

    monkeypatch.setattr(survey, "read_cut", watched)
    (name,) = motion_of(folder, 6)["clips"]
    assert numbers(seen[0].pixels) == film.shown[:6]
    assert float(name.rpartition("@")[2]) == pytest.approx(film.fps, rel=0.01)
    rate = 0.7 * film.fps
    motion_of(folder, 4, [rate])
    assert numbers(seen[1].pixels) == film.at(np.arange(4) / rate)


def generated_from(film: Film, path: Path) -> None:
    assert numbers(clip_files.read_clip(path)) == film.shown


def trained_from_shards(film: Film, root: Path) -> None:
    rate = 0.6 * film.fps
    decoder, index = ClipDecoder(32, 5, UniformFps(rate, rate)), load_index(root / "clips" / "train")
    example = SampleReader(index, decoder, seed=3).read(0, 1, {})
    context = SampleContext(sample_rng(3, 1, example.key))
    direct = decoder.decode(example.key, {film.suffix: film.data}, None, context, FrameCache(0))
    np.testing.assert_array_equal(example.frames, direct.frames)
    assert example.fps == direct.fps


def packed(film: Film, folder: Path) -> None:
    (folder / "captions.tsv").write_text(f"file\tcaption\na.{film.suffix}\t{film.caption}\n")
    pack(folder / "videos", folder / "captions.tsv", folder / "out", val=0.0, stills=3)
    clips, images = (load_index(folder / "out" / kind / "train") for kind in ("clips", "images"))
    ((shard, sample),) = list(clips)
    assert sample.media is not None and sample.media.frames == len(film.times)
    assert clips.read(shard, sample, [film.suffix])[film.suffix] == film.data
    stills = [images.read(place, still, ["jpg", "json"]) for place, still in images]
    frames = [np.asarray(Image.open(io.BytesIO(still["jpg"]))) for still in stills]
    assert numbers(frames) == film.at((np.arange(3) + 0.5) / 3 * sample.media.span)
    assert all(film.is_upright(frame) for frame in frames)
    assert json.loads(stills[0]["json"])["file"] == f"a.{film.suffix}"
    assert (sample.captioned, read_caption(clips.read(shard, sample, ["txt", "json"]))) == (True, film.caption)
    seen = SampleReader(images, ImageDecoder(16), seed=0)
    assert [seen.read(number, 0, {}).caption for number in range(3)] == 3 * [film.caption]


def test_embeddings_are_of_the_same_frames(tmp_path: Path) -> None:
    import torch

    seen: list[Any] = []

    def embed(images: Any) -> Any:
        seen.append(images)
        return torch.nn.functional.normalize(images.flatten(1)[:, :4] + 2, dim=1)

    film = Film(0)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / f"a.{film.suffix}").write_bytes(film.data)
    (tmp_path / "captions.tsv").write_text(f"file\tcaption\na.{film.suffix}\tgrey\n")
    pack(tmp_path / "videos", tmp_path / "captions.tsv", tmp_path / "out", val=0.0, stills=0)
    write_embeddings(tmp_path / "out" / "clips", embed, "x", 32)
    pixels = ((seen[0].permute(0, 2, 3, 1).numpy() + 1) * 127.5).round().astype(np.uint8)
    with open_media(film.data) as opened:
        assert numbers(pixels) == film.at(np.linspace(0, opened.timeline.span, FRAMES))


def test_a_clip_read_with_sizes_is_the_film_itself() -> None:
    with open_media(make_film(numbered(6))) as film:
        assert numbers(read_clip(film, [0, 2, 2, 5])) == [0, 2, 2, 5]
