from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from datamodules.batch import JointBatch
from datamodules.datamodule import ClipData, ImageData
from datamodules.fps_sampler import UniformFps
from datamodules.joint import JointData
from mav_lightning.common.errors import UserError


class Recorder(lightning.LightningModule):
    """Notes which clips and images it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.shown: list[tuple[list[str], float, list[str]]] = []

    def training_step(self, batch: JointBatch, batch_idx: int) -> Tensor:
        self.shown.append((batch.clips.key, float(batch.clips.pixels.double().sum()), batch.images.key))
        return self.layer(batch.fps[:, None]).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


class StopAfter(Callback):
    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: object) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


def joint(root: Path, workers: int = 0) -> JointData:
    """Five steps are a pass over the 22 clips less the held-out, three one over the 21 images."""
    clips = ClipData(root, 8, 9, UniformFps(4, 16), batch_size=4, workers=workers)
    return JointData(clips, ImageData(root, 8, batch_size=7, captioned=False, workers=workers))


def fit(data: JointData, steps: int, *callbacks: Callback, ckpt_path: Path | None = None) -> Recorder:
    module = Recorder()
    trainer = lightning.Trainer(
        accelerator="cpu", max_steps=steps, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=list(callbacks), limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(module, data, ckpt_path=ckpt_path, weights_only=True)
    return module


def test_images_go_on_while_the_clips_begin_anew(shapes: Path) -> None:
    shown = fit(joint(shapes), 12).shown
    for start in range(0, 12, 3):
        one_pass = [key for _, _, images in shown[start : start + 3] for key in images]
        assert len(set(one_pass)) == 21, "every image once before any comes again"
    clips = ClipData(shapes, 8, 9, UniformFps(4, 16), batch_size=4)
    alone = iter(clips.train_dataloader())
    assert [keys for keys, _, _ in shown[:5]] == [next(alone).key for _ in range(5)], "mixing leaves the clips alone"


@pytest.mark.parametrize("stop", [2, 5, 7])
def test_a_mixed_training_resumes_in_the_middle_of_both_passes(shapes: Path, tmp_path: Path, stop: int) -> None:
    undisturbed, resumed = joint(shapes), joint(shapes)
    whole = fit(undisturbed, 12)
    before = fit(joint(shapes), 12, StopAfter(stop, tmp_path / "x.ckpt"))
    after = fit(resumed, 12, ckpt_path=tmp_path / "x.ckpt")
    assert before.shown + after.shown == whole.shown
    assert resumed.clips.fps.histogram() == undisturbed.clips.fps.histogram()


def test_workers_change_nothing(shapes: Path) -> None:
    assert fit(joint(shapes, workers=1), 7).shown == fit(joint(shapes), 7).shown


def test_a_stream_cannot_be_mixed(shapes: Path) -> None:
    clips = ClipData(shapes, 8, 9, UniformFps(4, 16), batch_size=4)
    images = ImageData(shapes, 8, batch_size=7, reader="streaming")
    with pytest.raises(UserError, match="data.images.reader: must be `indexed` to be mixed, got `streaming`"):
        JointData(clips, images)
