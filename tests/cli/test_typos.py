"""A mistake in a value is refused by config, certify, train and ablate alike, with the same message."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mav_lightning.cli.app import app
from mav_lightning.common.errors import UserError

NET = "module.denoiser.net"
# Override of stage/temporal_tiny.yaml → what the message holds.
TYPOS = {
    f"{NET}.temporal_attention=None": "temporal_attention: must be true or false, got 'None'",
    f"{NET}.temporal_attention='false'": "temporal_attention: must be true or false, got 'false'",
    f"{NET}.temporal_attention=maybe": "temporal_attention: must be true or false, got 'maybe'",
    "fit.steps=abc": "steps: must be a whole number",
    f"{NET}.channels=many": "channels: must be a whole number above 0, got 'many'",
    f"{NET}.channels=0": "channels: must be a whole number above 0, got 0",
    f"{NET}.channels=16.5": "channels: must be a whole number above 0, got 16.5",
    f"{NET}.chanels=3": "Did you mean `channels`?",
    f"{NET}.fps=secnds": "Did you mean `seconds`?",
    f"{NET}.attention=2": "attention: must be a list",
    f"{NET}.attention=[7]": f"{NET}.attention: level 7 does not exist",
    f"{NET}.attention=[two]": "attention.0: must be a whole number",
    f"{NET}.multipliers=[1,-2,4]": "multipliers.1: must be a whole number above 0, got -2",
    f"{NET}.factorized=[true]": "factorized: must be true or false",
    f"{NET}={{}}": "must be a node with `_target_`",
    f"{NET}._target_=mav_lightning.nn.unet.SpaceTimeUNett": "Did you mean `mav_lightning.nn.unet.SpaceTimeUNet`?",
    "module.denoiser.sigma_data=.nan": "sigma_data: must be a finite number, got nan",
    "module.denoiser.sigma_data=.inf": "sigma_data: must be a finite number, got inf",
    "module.denoising.cond_dropout=1.5": "cond_dropout: must be a finite number ≥ 0 and ≤ 1, got 1.5",
    "module.denoising.encoder=5": "encoder: must be",
    "module.spatial_lr=-1": "spatial_lr: must be a finite number ≥ 0, got -1",
    "data.batch_size=x": "batch_size: must be a whole number above 0, got 'x'",
    "data.workers=-1": "workers: must be a whole number ≥ 0",
    "data.fps={_target_: datamodules.fps_sampler.UniformFps, low: 4}": "fps.high: is missing",
    "trainer.precision=bf17-mixed": "Did you mean `bf16-mixed`?",
    "seed=1180591620717411303424": "seed: must be a whole number",
}


@pytest.mark.slow
@pytest.mark.parametrize("typo", TYPOS)
def test_four_commands_refuse_the_same_mistake_with_the_same_message(typo: str, tmp_path: Path) -> None:
    study = f"temporal.{typo}"
    commands = (
        ["config", "stage/temporal_tiny.yaml", typo],
        ["certify", "stage/temporal_tiny.yaml", typo],
        ["train", "stage/temporal_tiny.yaml", typo, "--out", str(tmp_path / "run")],
        ["ablate", "ablation/quick.yaml", study, "--dry-run", "--out", str(tmp_path / "study")],
    )
    for words in commands:
        done = CliRunner().invoke(app, words)
        assert isinstance(done.exception, UserError), (words, done.output, done.exception)
        assert TYPOS[typo] in str(done.exception), words
    assert not list(tmp_path.iterdir())
