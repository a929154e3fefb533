import io

import numpy as np
import pytest
from PIL import Image

from mav_lightning.common.gif import encode_gif, shown_frames


def durations(frames: np.ndarray, fps: float) -> list[int]:
    """Milliseconds of every frame of the GIF."""
    image = Image.open(io.BytesIO(encode_gif(frames, fps)))
    found = []
    for frame in range(image.n_frames):  # type: ignore[attr-defined]
        image.seek(frame)
        found.append(image.info["duration"])
    return found


def noise(frames: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, 16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize("fps", [4.0, 7.0, 16.0, 24.0, 29.97, 33.4, 48.0, 49.9, 50.0])
def test_every_frame_is_shown_at_its_rate_up_to_what_browsers_play(fps: float) -> None:
    found = durations(noise(33), fps)
    assert len(found) == 33
    assert sum(found) == pytest.approx(33_000 / fps, abs=10)
    assert max(found) - min(found) <= 10
    assert min(found) >= 20, "browsers show shorter frames for 100 ms"


@pytest.mark.parametrize("fps", [50.1, 60.0, 64.0, 100.0, 240.0])
def test_faster_clips_lose_evenly_spaced_frames_and_keep_their_length(fps: float) -> None:
    found = durations(noise(120), fps)
    assert set(found) == {20}
    assert sum(found) == pytest.approx(120_000 / fps, abs=20)
    steps = np.diff(shown_frames(120, fps))
    assert steps.min() >= 1 and steps.max() - steps.min() <= 1


def test_the_frames_shown_are_those_of_their_times() -> None:
    assert shown_frames(9, 100.0) == [0, 2, 4, 6]
    assert shown_frames(1, 1000.0) == [0]
    assert shown_frames(33, 64.0)[-1] == 32
