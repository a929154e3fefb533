"""Every option of Lightning either works in a run, or is rejected by its name before anything is written."""

import inspect
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy
from toy_training import run

from mav_lightning.common.errors import UserError
from mav_lightning.training.trainer_options import OWNED, check_trainer_options

NO_PASSES = "a training reads on where it was and never begins a pass anew"
REJECTED: list[tuple[str, Any, str]] = [
    ("accelerator", "tpu", "trainer.accelerator=tpu: TPUs are not supported; use gpu or cpu"),
    ("accelerator", "cuda", "trainer: Lightning rejects accelerator=cuda, .*: .*CUDA"),
    ("accelerator", "gpus", "trainer: Lightning rejects accelerator=gpus, .*: .* invalid accelerator"),
    ("strategy", "fsdp", "trainer.strategy=fsdp: cannot be resumed exactly.*; use fsdp2, .*, or ddp"),
    ("strategy", "fsdp_cpu_offload", "strategy=fsdp_cpu_offload: cannot be resumed exactly"),
    ("strategy", FSDPStrategy, "strategy=FSDPStrategy: cannot be resumed exactly"),
    ("strategy", "deepspeed_stage_2", "strategy=deepspeed_stage_2: cannot be resumed exactly"),
    ("strategy", "model_parallel", "strategy=model_parallel: cannot be resumed exactly"),
    ("strategy", "fsdp2_cpu_offload", "strategy=fsdp2_cpu_offload: cannot be resumed exactly"),
    ("strategy", "ddp_spawn", "strategy=ddp_spawn: its processes cannot return results; use ddp"),
    ("strategy", lambda: DDPStrategy(start_method="fork"), "strategy=DDPStrategy: its processes cannot return"),
    ("strategy", "single_xla", "strategy=single_xla: TPUs are not supported"),
    ("strategy", "dpp", "Lightning rejects .*strategy=dpp: You selected an invalid strategy name"),
    ("devices", 0, "Lightning rejects .*devices=0: "),
    ("devices", "many", "Lightning rejects .*devices=many: "),
    ("num_nodes", 0, "trainer.num_nodes: must be a whole number above 0, got 0"),
    ("precision", "bf16-true", "precision=bf16-true: it keeps the weights in less than 32 bits, .*; use bf16-mixed"),
    ("precision", "16-true", "precision=16-true: it keeps the weights in less than 32 bits"),
    ("precision", "transformer-engine", "precision=transformer-engine: it keeps the weights in less than 32 bits"),
    ("precision", 64, "precision=64: batches and the average of the weights are in 32 bits; use 32-true"),
    ("precision", "16-mixed", "precision=16-mixed: needs a GPU; on a CPU use bf16-mixed or 32-true"),
    ("precision", "8", "Lightning rejects .*precision=8: Precision '8' is invalid"),
    ("barebones", True, "barebones=True: it turns off checkpoints, curves and the checks of gradients"),
    ("enable_checkpointing", False, "trainer.enable_checkpointing: cannot be set here; set `fit.checkpoint_every`"),
    ("limit_train_batches", 0, "limit_train_batches=0: leaves nothing to train on"),
    ("limit_train_batches", 2, f"limit_train_batches=2: {NO_PASSES}.*; set fit.steps"),
    ("limit_train_batches", 0.5, f"limit_train_batches=0.5: {NO_PASSES}"),
    ("limit_val_batches", -1, "trainer.limit_val_batches: must be a whole number ≥ 0 or"),
    ("limit_test_batches", 1, "limit_test_batches=1: a training tests nothing; leave it out"),
    ("limit_predict_batches", 1, "limit_predict_batches=1: a training predicts nothing; leave it out"),
    ("overfit_batches", 2, f"overfit_batches=2: {NO_PASSES}.* a data folder with few samples"),
    ("reload_dataloaders_every_n_epochs", 1, "the data would begin anew after each pass"),
    ("accumulate_grad_batches", 0, "trainer.accumulate_grad_batches: must be a whole number above 0, got 0"),
    ("accumulate_grad_batches", 1.5, "trainer.accumulate_grad_batches: must be a whole number above 0, got 1.5"),
    ("gradient_clip_val", "x", "trainer.gradient_clip_val: must be a finite number ≥ 0, got 'x'"),
    ("gradient_clip_val", -1, "trainer.gradient_clip_val: must be a finite number ≥ 0, got -1"),
    ("gradient_clip_algorithm", "nrom", "gradient_clip_algorithm: must be one of `norm`, `value`"),
    ("gradient_clip_algorithm", "value", "gradient_clip_algorithm: clips nothing without trainer.gradient_clip_val"),
    ("num_nodes", 2, "trainer.num_nodes=2: the other machines cannot find this one, .* torchrun or SLURM"),
    ("deterministic", "warned", "trainer.deterministic: must be true or false or one of `warn`"),
    ("profiler", "simpel", "rejects .*profiler=simpel: "),
    ("num_sanity_val_steps", -3, "trainer.num_sanity_val_steps: must be a whole number ≥ -1"),
    ("log_every_n_steps", -1, "trainer.log_every_n_steps: must be a whole number ≥ 0"),
    ("log_every_n_steps", "x", "trainer.log_every_n_steps: must be a whole number ≥ 0"),
    ("max_time", "soon", "rejects .*max_time=soon: .*DD:HH:MM:SS"),
    ("val_check_interval", 0, "trainer.val_check_interval: must be a whole number above 0 or a finite number above 0"),
    ("val_check_interval", 1.5, "trainer.val_check_interval: must be .* ≤ 1, got 1.5"),
    ("check_val_every_n_epoch", 0, "trainer.check_val_every_n_epoch: must be a whole number above 0, got 0"),
    ("fast_dev_run", -1, "trainer.fast_dev_run: must be true or false or a whole number ≥ 0"),
    ("enable_progress_bar", "no", "trainer.enable_progress_bar: must be true or false"),
]


def shown(name: str, value: Any) -> str:
    """Name of a test, without addresses, which differ between the processes that share the tests."""
    return f"{name}={'object' if callable(value) else value}"


@pytest.mark.parametrize(("name", "value", "message"), REJECTED, ids=[shown(*one[:2]) for one in REJECTED])
def test_an_option_that_cannot_work_is_rejected_by_name(
    name: str, value: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)  # which an earlier training on several processes leaves behind
    with pytest.raises(UserError, match=message):
        run(tmp_path / "run", trainer={name: value() if callable(value) else value}, trace=False)

    assert not (tmp_path / "run").exists()


WORKING = {
    "strategy": "ddp_find_unused_parameters_false",
    "precision": "bf16-mixed",
    "limit_train_batches": 1.0,
    "limit_val_batches": 1,
    "num_sanity_val_steps": -1,
    "accumulate_grad_batches": 2,
    "gradient_clip_val": 0.5,
    "deterministic": True,
    "benchmark": False,
    "inference_mode": False,
    "detect_anomaly": True,
    "sync_batchnorm": True,
    "val_check_interval": 0.5,
    "check_val_every_n_epoch": 1,
    "log_every_n_steps": 0,
    "max_time": "00:01:00:00",
    "use_distributed_sampler": True,
}


@pytest.mark.parametrize("name", WORKING)
def test_the_others_train_to_the_last_step(name: str, tmp_path: Path) -> None:
    run(tmp_path, steps=2, trainer={name: WORKING[name]}, trace=False)

    assert (tmp_path / "weights.safetensors").exists()


def test_two_ways_to_say_when_to_validate_are_rejected_together() -> None:
    check_trainer_options({"val_check_interval": 2, "check_val_every_n_epoch": 1})
    with pytest.raises(UserError, match="check_val_every_n_epoch: has no effect next to trainer.val_check_interval"):
        check_trainer_options({"val_check_interval": 2, "check_val_every_n_epoch": 3})


def test_none_is_lightnings_default() -> None:
    settable = [name for name in inspect.signature(Trainer).parameters if name not in OWNED]

    check_trainer_options(dict.fromkeys(settable))
