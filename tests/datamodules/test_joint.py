from pathlib import Path

import pytest
from recording import StopAfter, fit

from datamodules.datamodule import ClipData, ImageData
from datamodules.fps_sampler import UniformFps
from datamodules.joint import JointData
from mav_lightning.common.errors import UserError


def joint(root: Path, workers: int = 0) -> JointData:
    """Five steps are a pass over the 22 clips less the held-out, three one over the 21 images."""
    clips = ClipData(root, 8, 9, UniformFps(4, 16), batch_size=4, workers=workers)
    return JointData(clips, ImageData(root, 8, batch_size=7, captioned=False, workers=workers))


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
    with pytest.raises(UserError, match="images: must use the indexed reader, got `streaming`"):
        JointData(clips, images)
