"""What a person sees of a training: clips that play, fps, and how far it is."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from toy_training import ToyModule, run

from mav_lightning.common.clip_summary import tile_clips
from mav_lightning.training.progress_bar import TrainingProgress


def clips(n: int = 3, frames: int = 5) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n, frames, 16, 16, 3), dtype=np.uint8)


def test_tiles_are_the_clips_enlarged_by_whole_pixels() -> None:
    video = clips(3)
    frames = tile_clips(video, columns=2)

    assert frames.shape == (5, 2 * 96, 2 * 96, 3)
    assert np.array_equal(frames[:, :96:6, 96::6], video[1])
    assert np.array_equal(frames[:, 96::6, :96:6], video[2])
    assert not frames[:, 96:, 96:].any()


def test_clips_of_another_shape_or_type_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(N, T, H, W, 3\) uint8, got \(5, 16, 16, 3\) uint8"):
        tile_clips(clips()[0])


class ToyWithClips(ToyModule):
    """Shows its first weight as brightness, so that the picture tells which weights were in place."""

    def sample_clips(self) -> dict[str, tuple[NDArray[np.uint8], float]]:
        return {"samples/8fps": (clips(), 8.0)}


def test_tensorboard_gets_losses_clips_and_fps(tmp_path: Path) -> None:
    run(tmp_path, module=ToyWithClips(), logger=True, steps=8, trainer={"log_every_n_steps": 1})

    board = EventAccumulator(
        str(tmp_path / "tensorboard" / tmp_path.name), {"histograms": 0, "images": 0, "scalars": 0}
    )
    board.Reload()
    shown = ["loss/train", "loss/val", "optimizer/grad_norm", "optimizer/lr", "temporal/net"]
    assert sorted(board.Tags()["scalars"]) == shown, "sorted as TensorBoard sorts its cards: losses first, no epoch"
    assert [event.step for event in board.Images("samples/8fps")] == [3, 7]
    gif = Image.open(io.BytesIO(board.Images("samples/8fps")[0].encoded_image_string))
    assert gif.format == "GIF" and gif.n_frames == 5  # type: ignore[attr-defined]
    assert [event.histogram_value.num for event in board.Histograms("training_data/fps")] == [
        16,
        16,
    ]  # 4 steps of 4 clips


class ToyWithActivity(ToyModule):
    def temporal_activity(self) -> dict[str, float]:
        return {"down.0.conv1": float(self.trainer.global_step)}


def test_tensorboard_gets_what_temporal_layers_do_from_the_start_to_the_end(tmp_path: Path) -> None:
    run(tmp_path, module=ToyWithActivity(), logger=True, steps=7, checkpoint_every=15)

    board = EventAccumulator(str(tmp_path / "tensorboard" / tmp_path.name), {"scalars": 0})
    board.Reload()
    points = [(event.step, event.value) for event in board.Scalars("temporal/down.0.conv1")]
    assert points == [(0, 0.0), (2, 3.0), (5, 6.0), (6, 7.0)], "steps count from 0"


def test_progress_ends_with_all_steps_speed_and_no_time_left(tmp_path: Path) -> None:
    for terminal in (True, False):
        console = Console(file=io.StringIO(), force_terminal=terminal, width=150)
        run(tmp_path / str(terminal), extra=[TrainingProgress(console)], trainer={"enable_progress_bar": True})
        shown: Any = console.file
        assert "23/23" in shown.getvalue()
        assert " clips/s · 0:00 left" in shown.getvalue()
        assert "loss " in shown.getvalue()
