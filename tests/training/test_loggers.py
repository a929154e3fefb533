"""Loggers by name, several at once, with media and tags, and offline."""

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, WandbLogger
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from toy_training import ToyModule, run

from mav_lightning.common.errors import UserError
from mav_lightning.training import loggers
from mav_lightning.training.logger_media import log_clips, log_histogram


def clips() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (2, 4, 8, 8, 3), dtype=np.uint8)


class Toy(ToyModule):
    """A toy with everything that can be logged."""

    def sample_clips(self) -> dict[str, tuple[NDArray[np.uint8], float]]:
        return {"samples/8fps": (clips(), 8.0)}

    def temporal_activity(self) -> dict[str, float]:
        return {"mid": 0.5}


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_csv_gets_losses_rate_activity_media_and_tags(tmp_path: Path) -> None:
    tags = {"variant": "per_frame", "seed": 3}
    run(tmp_path, module=Toy(), logger="csv", tags=tags, steps=8, trainer={"log_every_n_steps": 1})

    folder = tmp_path / "csv"
    columns = rows(folder)[0].keys()
    assert {"loss/train", "loss/val", "optimizer/lr", "optimizer/grad_norm", "temporal/mid", "step"} <= columns
    assert {round(float(row["optimizer/lr"]), 6) for row in rows(folder) if row["optimizer/lr"]} >= {0.001, 0.008}
    assert yaml.safe_load((folder / "hparams.yaml").read_text()) == tags
    gif = Image.open(tmp_path / "media" / "samples" / "8fps" / "step-00000004.gif")
    assert (gif.format, gif.n_frames) == ("GIF", 4)  # type: ignore[attr-defined]
    histogram = json.loads((tmp_path / "media" / "training_data" / "fps" / "step-00000008.json").read_text())
    assert sum(histogram["counts"]) == 16 and len(histogram["edges"]) == len(histogram["counts"]) + 1


def test_several_loggers_at_once_and_none_change_the_weights(tmp_path: Path) -> None:
    own = CSVLogger(tmp_path / "own")
    run(tmp_path / "all", module=Toy(), logger=["tensorboard", "csv", own], steps=5)
    run(tmp_path / "none", module=Toy(), logger=False, steps=5)

    board = EventAccumulator(str(tmp_path / "all" / "tensorboard" / "all"))
    board.Reload()
    assert board.Tags()["scalars"] == ["temporal/mid", "loss/val"], "no card `epoch`"
    assert (tmp_path / "all" / "csv").is_dir() and (tmp_path / "own").is_dir()
    weights = [load_file(tmp_path / name / "weights.safetensors") for name in ("all", "none")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])


def test_callbacks_of_lightning_can_be_added(tmp_path: Path) -> None:
    run(tmp_path, logger="csv", steps=3, extra=[LearningRateMonitor()], trainer={"log_every_n_steps": 1})

    assert "lr-AdamW" in rows(tmp_path / "csv")[0]


class Other(Logger):
    """A logger of somebody else's."""

    name, version = "other", 0

    def __init__(self) -> None:
        self.metrics: list[dict[str, float]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:  # type: ignore[override]
        self.metrics.append(metrics)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.params = params


def test_another_logger_gets_scalars_and_a_warning_about_media(tmp_path: Path) -> None:
    other = Other()
    with pytest.warns(UserWarning, match="Other cannot log clips and histograms; they are written to .*media"):
        run(tmp_path, module=Toy(), logger=other, steps=4, tags={"seed": 1})

    assert any("temporal/mid" in metrics for metrics in other.metrics)
    assert other.params == {"seed": 1}
    assert (tmp_path / "media" / "samples" / "8fps" / "step-00000004.gif").is_file()


def test_an_unknown_name_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"logger: unknown logger `wandd`; known are .*\. Did you mean `wandb`\?"):
        run(tmp_path, logger="wandd")


@pytest.mark.parametrize(("name", "kind"), [("wandb", "WandbLogger"), ("mlflow", "MLFlowLogger")])
def test_a_missing_package_is_an_error_with_the_command_to_install_it(
    name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*args: Any, **kwargs: Any) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(loggers, kind, missing)
    with pytest.raises(UserError, match=f"needs a package that is not installed; run `pip install {name}`"):
        run(tmp_path, logger=name)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Arguments that the W&B and MLflow loggers were built with."""
    seen: dict[str, Any] = {}

    class Stub(Other):
        run_id = "abc"

        def __init__(self, **arguments: Any) -> None:
            super().__init__()
            seen.update(arguments)

    monkeypatch.setattr(loggers, "WandbLogger", Stub)
    monkeypatch.setattr(loggers, "MLFlowLogger", Stub)
    return seen


def test_wandb_is_offline_in_the_run_folder_and_keeps_its_id(tmp_path: Path, built: dict[str, Any]) -> None:
    loggers.make_loggers("wandb", tmp_path, None, {"variant": "full", "seed": 0}, "run")
    first = dict(built)
    loggers.make_loggers("wandb", tmp_path, 4, {}, "run")

    assert first["offline"] is True and first["save_dir"] == tmp_path
    assert first["tags"] == ["variant=full", "seed=0"] and first["name"] == "run"
    assert built["id"] == first["id"]


def test_mlflow_uses_a_file_store_in_the_run_folder_and_keeps_its_id(tmp_path: Path, built: dict[str, Any]) -> None:
    loggers.make_loggers("mlflow", tmp_path, None, {"variant": "full", "seed": 0}, "run")
    assert built["tracking_uri"] == (tmp_path / "mlruns").as_uri() and built["run_id"] is None
    assert built["run_name"] == "run"
    assert built["tags"] == {"variant": "full", "seed": "0"}

    loggers.make_loggers("mlflow", tmp_path, 4, {}, "run")
    assert built["run_id"] == "abc"


class FakeWandb(WandbLogger):
    """Records what would be sent."""

    def __init__(self) -> None:
        self.logged: dict[str, Any] = {}

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.logged.update(metrics)


class FakeMLflow(MLFlowLogger):
    """Records the artifacts that would be stored."""

    run_id = "abc"

    def __init__(self) -> None:
        self.artifacts: list[tuple[str, str]] = []

    @property
    def experiment(self) -> Any:
        return self

    def log_artifact(self, run_id: str, file: str, folder: str) -> None:
        self.artifacts.append((Path(file).name, folder))


def test_wandb_gets_gif_files_and_histograms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb: Any = ModuleType("wandb")
    make: Callable[..., Any] = lambda *args, **kwargs: (args, kwargs)  # noqa: E731
    wandb.Video = wandb.Histogram = make
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    logger = FakeWandb()

    log_clips([logger], tmp_path, "samples", clips(), 8.0, 4)
    log_histogram([logger], tmp_path, "fps", np.ones(3, np.float32), 4)

    file = tmp_path / "media" / "samples" / "step-00000004.gif"
    assert logger.logged["samples"] == [((str(file),), {"format": "gif"})] and file.is_file()
    assert logger.logged["fps"] == (([1.0, 1.0, 1.0],), {"num_bins": 30})


def test_mlflow_gets_artifacts(tmp_path: Path) -> None:
    logger = FakeMLflow()

    log_clips([logger], tmp_path, "samples", clips(), 8.0, 4)
    log_histogram([logger], tmp_path, "fps", np.ones(3, np.float32), 4)

    assert logger.artifacts == [("step-00000004.gif", "media/samples"), ("step-00000004.json", "media/fps")]
