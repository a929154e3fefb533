import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.decoders import ClipDecoder, ImageDecoder
from datamodules.fps_sampler import UniformFps
from datamodules.frame_cache import FrameCache
from datamodules.media import Media, probe_media
from datamodules.order import SampleContext
from mav_lightning.common.cropping import crop_to_square
from mav_lightning.common.errors import UserError
from mav_lightning.shards.samples import SampleError

NOTHING = FrameCache(0)


def drawn(seed: int) -> SampleContext:
    return SampleContext(np.random.default_rng(seed))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("fps", [4.0, 7.3, 20.0])
def test_frames_are_cut_by_time(make_mp4: Callable[..., bytes], fps: float) -> None:
    data, decoder = make_mp4(frames=60, fps=20.0), ClipDecoder(16, 5, UniformFps(fps, fps))

    clip = decoder.decode("a", {"mp4": data}, probe_media("mp4", data), drawn(0), NOTHING)

    seconds = clip.frames.mean(axis=(1, 2, 3)) / 4 / 20.0  # frame i has level 4 i
    np.testing.assert_allclose(np.diff(seconds), 1 / fps, atol=1 / 20.0 + 0.02)
    np.testing.assert_allclose(seconds[-1] - seconds[0], 4 / fps, atol=1 / 20.0 + 0.02)
    assert clip.fps == fps


def test_starts_are_random_and_stay_inside_the_video(make_mp4: Callable[..., bytes]) -> None:
    data, decoder = make_mp4(frames=60, fps=20.0), ClipDecoder(16, 5, UniformFps(8, 8))
    chance = drawn(1)

    clips = [decoder.decode("a", {"mp4": data}, None, chance, NOTHING).frames.mean(axis=(1, 2, 3)) for _ in range(30)]

    assert min(clip[0] for clip in clips) < 30 < 150 < max(clip[0] for clip in clips)
    assert max(clip[-1] for clip in clips) <= 4 * 59 + 2


def test_a_rate_beyond_the_source_becomes_the_sources_own(make_mp4: Callable[..., bytes]) -> None:
    data = make_mp4(frames=11, fps=20.0)

    fast, slow = (
        ClipDecoder(16, 11, UniformFps(fps, fps)).decode("a", {"mp4": data}, None, drawn(0), NOTHING)
        for fps in (90.0, 1.0)
    )

    assert (fast.fps, slow.fps) == (pytest.approx(20.0), pytest.approx(20.0))
    np.testing.assert_allclose(slow.frames.mean(axis=(1, 2, 3)), 4 * np.arange(11), atol=2)


def test_a_cache_changes_nothing(make_mp4: Callable[..., bytes]) -> None:
    data, decoder = make_mp4(frames=60, fps=23.976), ClipDecoder(12, 5, UniformFps(2, 20))
    media, cache = probe_media("mp4", data), FrameCache(60 * 12 * 12 * 3)

    for seed in range(10):
        with_cache, without = (
            decoder.decode("a", {"mp4": data}, media, drawn(seed), kept) for kept in (cache, NOTHING)
        )
        np.testing.assert_array_equal(with_cache.frames, without.frames)
    assert cache.free == 0


def test_short_or_missing_videos_are_refused(make_mp4: Callable[..., bytes]) -> None:
    decoder = ClipDecoder(16, 9, UniformFps(4, 16))

    assert decoder.refusal(["mp4"], Media(8, 8, 9, 30.0)) is None
    assert decoder.refusal(["mp4"], Media(8, 8, 8, 30.0)) == "has 8 frames, fewer than the 9 of a clip"
    assert decoder.refusal(["png", "txt"], None) == "holds no video (found png, txt)"
    with pytest.raises(SampleError, match="has 8 frames"):
        decoder.decode("a", {"mp4": make_mp4(8)}, None, drawn(0), NOTHING)


def test_clips_collate_to_channels_first_in_minus_one_to_one(make_mp4: Callable[..., bytes]) -> None:
    decoder = ClipDecoder(16, 5, UniformFps(8, 8))
    clip = decoder.decode("a", {"mp4": make_mp4()}, None, drawn(0), NOTHING)

    batch = decoder.collate([clip, clip])

    assert batch.pixels.shape == (2, 3, 5, 16, 16)
    assert batch.fps.tolist() == [8.0, 8.0]
    restored = ((batch.pixels[0] + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 3, 0)
    np.testing.assert_array_equal(restored.numpy(), clip.frames)


def test_captions_are_read_or_not_at_all(png: bytes) -> None:
    members, chance = {"png": png, "txt": b" a red tile\n"}, drawn(0)

    captioned, bare = ImageDecoder(4), ImageDecoder(4, captioned=False)

    assert captioned.collate([captioned.decode("a", members, None, chance, NOTHING)]).caption == ["a red tile"]
    assert bare.collate([bare.decode("a", {"png": png}, None, chance, NOTHING)]).caption is None
    assert captioned.refusal(["png"], None) == "holds no caption (found png)"
    with pytest.raises(SampleError, match="caption is not UTF-8"):
        captioned.decode("a", {"png": png, "txt": b"\xff"}, None, chance, NOTHING)


def test_shrinking_averages_areas_of_the_centered_square() -> None:
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, 2:6] = np.arange(16, dtype=np.uint8).reshape(4, 4, 1) * 10  # the centered square; the rest is cut off

    shrunk = crop_to_square(Image.fromarray(pixels), 2)[..., 0]

    np.testing.assert_array_equal(shrunk, [[25, 45], [105, 125]])


def test_images_are_turned_upright() -> None:
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, :4] = 255  # left half white; orientation 6 turns left to top
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(pixels), "JPEG", exif=exif, quality=95)

    upright = ImageDecoder(4, captioned=False).decode("a", {"jpg": data}, None, drawn(0), NOTHING)

    assert upright.frames[0, :2].mean() > 250
    assert upright.frames[0, 2:].mean() < 5


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "CMYK", "RGBA"])
def test_images_of_any_8_bit_mode_are_read_as_they_look(mode: str) -> None:
    white = Image.new("RGB", (8, 8), "white").convert(mode)
    kind, name = ("JPEG", "jpg") if mode == "CMYK" else ("PNG", "png")
    decoded = ImageDecoder(4, captioned=False).decode("a", {name: encoded(white, kind)}, None, drawn(0), NOTHING)
    assert (decoded.frames > 250).all()


def test_what_is_transparent_lies_on_white() -> None:
    hidden = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    decoded = ImageDecoder(4, captioned=False).decode("a", {"png": encoded(hidden)}, None, drawn(0), NOTHING)
    assert (decoded.frames == 255).all()


def test_pixels_of_16_bits_are_refused_rather_than_cut() -> None:
    deep = Image.fromarray(np.full((8, 8), 30_000, np.uint16))
    with pytest.raises(UserError, match=r"more than 8 bits \(mode I;16\); save the image with 8 bits a channel"):
        ImageDecoder(4, captioned=False).decode("a", {"png": encoded(deep)}, None, drawn(0), NOTHING)


def test_png_of_16_bits_in_three_channels_is_read_as_it_looks() -> None:
    import cv2

    is_encoded, data = cv2.imencode(".png", np.full((8, 8, 3), 200 * 257, np.uint16))
    decoded = ImageDecoder(4, captioned=False).decode("a", {"png": data.tobytes()}, None, drawn(0), NOTHING)
    assert is_encoded and (decoded.frames == 200).all()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not an image",
        encoded(Image.new("RGB", (64, 64)))[:60],
        encoded(Image.new("RGB", (64, 64)), "JPEG")[:-200],
    ],
)
def test_damaged_images_are_bad_samples(data: bytes) -> None:
    with pytest.raises(UserError, match="replace or remove the image"):
        ImageDecoder(4, captioned=False).decode("a", {"png": data}, None, drawn(0), NOTHING)


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(UserError, match="size: must be 1 or more, got 0"):
        ImageDecoder(0)
    with pytest.raises(UserError, match="frames: must be 1 or more, got 0"):
        ClipDecoder(16, 0, UniformFps(4, 16))
