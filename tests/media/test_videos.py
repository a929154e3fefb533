import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mav_lightning.common.shapes_world.scene import all_scenes, render
from mav_lightning.common.video_encoding import encode_mp4, write_lossless, write_mp4
from mav_lightning.media.limits import MediaError, MediaLimits
from mav_lightning.media.media_reader import probe, read_comment, read_frames, read_frames_at


@pytest.fixture
def numbered() -> np.ndarray:
    """Thirty frames that are told apart by their grey level, whatever the codec does."""
    return np.stack([np.full((32, 48, 3), 8 * number, np.uint8) for number in range(30)])


def numbers(frames: np.ndarray) -> list[int]:
    return np.rint(frames.mean(axis=(1, 2, 3)) / 8).astype(int).tolist()


def as_avi(frames: np.ndarray, fps: int) -> bytes:
    """MPEG-4 with B-frames in AVI: no usable time stamps, like much of UCF-101."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="avi") as output:
        stream = output.add_stream("mpeg4", rate=Fraction(fps), options={"bf": "2", "g": "8"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        stream.bit_rate = 8_000_000  # the grey level must survive
        for frame in frames:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        output.mux(stream.encode(None))
    return buffer.getvalue()


def test_the_same_frames_give_the_same_bytes(numbered: np.ndarray) -> None:
    assert encode_mp4(numbered, 10.0) == encode_mp4(numbered, 10.0)
    # moving objects, again and again: x264's macroblock tree varied in one encoding of ten
    rng = np.random.default_rng(0)
    for scene in all_scenes():
        clip = render(scene, rng.uniform(0.2, 0.8, size=(16, 2)), 32, supersample=2)
        assert encode_mp4(clip, 9.7, crf=25) == encode_mp4(clip, 9.7, crf=25)


def test_a_lossless_file_gives_back_what_went_in(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (7, 18, 22, 3), dtype=np.uint8)
    write_lossless(tmp_path / "noise.mkv", noise, 12.0)
    assert np.array_equal(read_frames(tmp_path / "noise.mkv"), noise)
    assert probe(tmp_path / "noise.mkv").fps == 12.0


def test_a_comment_in_another_encoding_is_shown_with_replacements(numbered: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    write_mp4(path, numbered, 10.0, "cafe.")
    content = path.read_bytes().replace(b"cafe.", b"caf\xe9.")
    assert read_comment(content) == "caf\ufffd."
    assert numbers(read_frames(content)) == list(range(30))


@pytest.mark.parametrize(("height", "width"), [(32, 48), (33, 47)])
def test_a_file_for_the_eye_plays_everywhere(
    height: int, width: int, numbered: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("a:b c.mp4")  # FFmpeg must not take it for a protocol
    frames = np.pad(numbered, ((0, 0), (0, 1), (0, 0), (0, 0)), mode="edge")[:, :height, :width]
    write_mp4(path, frames, 10.0, "told")
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "players need not read the whole file first"
    with av.open(io.BytesIO(content)) as video:
        stream = video.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, stream.average_rate) == (48, 2 * ((height + 1) // 2), 10)
        assert video.metadata["comment"] == "told"
    assert numbers(read_frames(content)) == list(range(30))
    write_mp4(tmp_path / "again.mp4", frames, 10.0, "told")
    assert (tmp_path / "again.mp4").read_bytes() == content


def test_probing_counts_frames_without_decoding(numbered: np.ndarray) -> None:
    info = probe(encode_mp4(numbered, 10.0))
    assert (info.fps, info.frames, info.width, info.height, info.duration) == (10.0, 30, 48, 32, 3.0)


@pytest.mark.parametrize("encode", [lambda frames: encode_mp4(frames, 10.0, gop=8), lambda frames: as_avi(frames, 10)])
@pytest.mark.parametrize("start", [0.0, 0.1, 0.77, 1.5, 2.6])
def test_frames_are_the_nearest_to_their_times(encode: object, start: float, numbered: np.ndarray) -> None:
    seconds = [start + step / 7 for step in range(6)]
    expected = [min(29, int(np.ceil(10 * second - 0.5))) for second in seconds]
    assert numbers(read_frames_at(encode(numbered), seconds)) == expected  # type: ignore[operator]


def test_a_time_past_the_end_gives_the_last_frame(numbered: np.ndarray) -> None:
    assert numbers(read_frames_at(encode_mp4(numbered, 10.0), [2.9, 3.0, 99.0])) == [29, 29, 29]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (MediaLimits(pixels=100), "48x32 pixels, more than the limit of 100; scale it down"),
        (MediaLimits(frames=10), "more than 10 frames; cut it into shorter files"),
        (MediaLimits(bytes=100), "bytes, more than the limit of 100; cut it into shorter files"),
    ],
)
def test_limits_hold_before_anything_is_decoded(limits: MediaLimits, message: str, numbered: np.ndarray) -> None:
    with pytest.raises(MediaError, match=message):
        probe(encode_mp4(numbered, 10.0), limits)


def test_no_video_is_told_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(MediaError, match=r"text.mp4: cannot be decoded .*; re-encode or remove the file"):
        read_frames_at(tmp_path / "text.mp4", [0.0])
