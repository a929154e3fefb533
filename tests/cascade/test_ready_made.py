"""The ready-made cascade: right after installing, it draws what it is asked for."""

import hashlib

import numpy as np
import pytest

from mav_lightning.cascade.pipeline_file import READY_MADE
from mav_lightning.cascade.video_pipeline import Pipeline
from mav_lightning.common.errors import UserError


def test_its_files_are_those_that_were_trained_and_are_small() -> None:
    told = dict(line.split("  ")[::-1] for line in (READY_MADE / "SHA256SUMS").read_text().splitlines())
    weights = {str(file.relative_to(READY_MADE)): file for file in READY_MADE.rglob("*.safetensors")}
    assert {"clip", "prior", "decoder", "interpolator", "sr_low", "sr_high"} == {name.split("/")[0] for name in weights}
    assert weights.keys() < told.keys()
    for name, digest in told.items():
        assert hashlib.sha256((READY_MADE / name).read_bytes()).hexdigest() == digest, name
    assert sum(file.stat().st_size for file in READY_MADE.rglob("*") if file.is_file()) < 20 * 2**20


def test_it_draws_the_colour_and_the_ground_that_were_asked_for() -> None:
    pipeline = Pipeline.from_pretrained(batch_size=1)
    (clip,) = pipeline(["a red circle on a dark background"], fps=[8.0], seeds=[0]).astype(int)
    assert clip.shape == (33, 64, 64, 3) and pipeline.rate == 4
    red = (clip[..., 0] > 120) & (clip[..., 1:].max(axis=-1) < 110)
    share = red.mean(axis=(1, 2))
    assert np.all((share > 0.04) & (share < 0.25)), "one object in every frame"
    assert np.median(clip[~red]) < 90


def test_frame_rates_that_it_does_not_know_are_refused() -> None:
    with pytest.raises(UserError, match="outside the trained range of `decoder`; choose 4 to 16"):
        Pipeline.from_pretrained()(["a red circle"], fps=[30.0], seeds=[0], until="decoder")
