"""Every row of "To add a …" in CONTRIBUTING.md: a package outside of this project adds one of each, in one file."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from mav_lightning.ablation.run import load_plan
from mav_lightning.cli.app import app
from mav_lightning.common import allowed
from mav_lightning.common.errors import UserError
from mav_lightning.config import instantiate, load_config
from mav_lightning.runs.ids import packages_of

ROOT = Path(__file__).parent.parent


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A folder with the package `mylab` in it, as a user has it: not in this project, not installed."""
    shutil.copytree(ROOT / "tests" / "mylab", tmp_path / "mylab", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.fixture
def here(lab: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same folder, in which this process works, with nothing allowed yet."""
    monkeypatch.chdir(lab)
    monkeypatch.syspath_prepend(str(lab))
    monkeypatch.setattr(allowed, "_allowed", {})
    forget_mylab()
    yield lab
    forget_mylab()


def forget_mylab() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "mylab"]:
        del sys.modules[name]


def mav_here(*words: str) -> str:
    """Run the command line in this process; return what it printed."""
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def mav(lab: Path, *words: str) -> str:
    """Run the command line in a process of its own in the user's folder; return what it printed."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{lab}", "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = subprocess.run(
        [sys.executable, "-m", "mav_lightning", *words], cwd=lab, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_every_row_of_the_table_names_a_file_of_the_package() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    linked = set(re.findall(r"\(tests/mylab/(\w+\.\w+)\)", text))
    there = {file.name for file in (ROOT / "tests" / "mylab").glob("*.*")} - {
        "__init__.py",
        "protocol.yaml",
        "training.yaml",
        "scaled.yaml",
    }
    assert linked == there


def test_a_training_uses_own_data_network_denoiser_callback_and_logger(lab: Path, here: Path) -> None:
    mav(lab, "train", "mylab/training.yaml", "--allow", "mylab", "--out", "run")
    assert (lab / "run" / "steps.txt").read_text() == "3"
    assert "loss/train" in (lab / "lines.jsonl").read_text()
    card = json.loads((lab / "run" / "network.json").read_text())
    assert card["network"]["class"] == "mylab.denoisers.FlowDenoiser"
    with pytest.raises(UserError, match="--allow mylab"):
        mav_here("layers", "run")
    assert "no temporal layer" not in mav_here("layers", "run", "--allow", "mylab")
    mav_here("train", "mylab/scaled.yaml", "task.source=run", "--allow", "mylab", "--out", "scaled")
    before, after = (load_file(lab / name / "weights.safetensors") for name in ("run", "scaled"))
    assert all(torch.equal(after[name], 0.5 * before[name]) for name in before)


def test_without_permission_every_name_is_refused_with_the_way_out(here: Path) -> None:
    with pytest.raises(UserError, match="add --allow mylab to the command"):
        load_config("mylab/training.yaml")
    study = here / "mylab" / "study.yaml"
    study.write_text(study.read_text().replace("allow: [mylab]\n", ""))
    with pytest.raises(UserError, match=r"allow: \[mylab\]"):
        load_plan("mylab/study.yaml")


def test_the_source_of_the_package_is_part_of_the_ids_of_the_stages_that_use_it(here: Path) -> None:
    def ids() -> dict[str, str]:
        trials = load_plan("mylab/study.yaml").trials
        return {
            f"{name} of {trial.variant}/{trial.seed}": stage.id
            for trial in trials
            for name, stage in trial.stages.items()
        }

    before = ids()
    layer = here / "mylab" / "layers.py"
    layer.write_text(layer.read_text().replace("return x + gate", "return x + 2 * gate"))
    after = ids()
    changed = {name for name in before if before[name] != after[name]}
    assert changed and not {name for name in changed if name.startswith(("data", "clip", "prior", "spatial"))}
    assert any(name.startswith("temporal") for name in changed)


@pytest.mark.slow
def test_a_study_of_own_layers_networks_samplers_and_metrics_runs_and_is_reported(lab: Path) -> None:
    mav(lab, "ablate", "mylab/study.yaml", "--out", "study")
    report = (lab / "study" / "report.md").read_text()
    for variant in ("without", "shifted", "own_network", "own_sampler"):
        assert variant in report
    assert "mylab" in report and "shapes-mean-distance" in report
    assert "Measured under protocol mylab/protocol.yaml (" in report
    results = [json.loads(file.read_text()) for file in (lab / "study" / "stages").glob("score-*/results.json")]
    assert len(results) == 4
    assert all({"shapes-mean-distance", "brightness"} <= set(found["metrics"]) for found in results)
    mav(lab, "report", "study")
    clips = next((lab / "study" / "stages").glob("sample-*/clips"))
    shards = next((lab / "study" / "stages").glob("data-*/shards"))
    mav(lab, "evaluate", "--generated", str(clips), "--real", str(shards), "--protocol", "mylab/protocol.yaml",
        "--allow", "mylab", "--out", "results.json", "--features", "features")  # fmt: skip
    assert json.loads((lab / "results.json").read_text())["metrics"]["brightness"]["unit"] == "grey levels"


def test_a_temporal_layer_of_ones_own_keeps_the_certificate_and_is_knocked_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tests"))
    from mylab.layers import GatedShift

    from mav_lightning.certificate import certify_frames
    from mav_lightning.diffusion.denoiser import EDMDenoiser
    from mav_lightning.knockout import knock_out
    from mav_lightning.nn.unet import SpaceTimeUNet

    torch.manual_seed(0)
    net = SpaceTimeUNet(channels=8, head_channels=8, temporal_layer=GatedShift)
    assert certify_frames(EDMDenoiser(net)).holds
    own = [name for name in net.temporal_layers() if name.endswith("temporal_layer")]
    assert own and set(knock_out(net, ["*temporal_layer"])) == set(own)


def test_what_the_package_imports_of_the_users_own_counts_as_well(here: Path) -> None:
    (here / "hers.py").write_text("GAIN = 1\n")
    layer = here / "mylab" / "layers.py"
    layer.write_text(f"import hers\nimport json\nimport torchmetrics\n{layer.read_text()}")
    allowed.allow(["mylab"])
    config = {"module": {"_target_": "mylab.layers.GatedShift"}}
    before = packages_of(config)
    (here / "hers.py").write_text("GAIN = 2\n")
    after = packages_of(config)

    assert before.keys() == {"mylab", "hers"}
    assert before["mylab"] == after["mylab"] and before["hers"] != after["hers"]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("def (:", r"`mylab.layers.GatedShift` cannot be imported; its file raises SyntaxError: .*layers.py, line 1"),
        ("x = y", r"cannot be imported; its file raises NameError: name 'y' is not defined \(.*layers.py, line 1\)"),
        ("import torch; torch.no_such", r"its file raises AttributeError: .* \(.*layers.py, line 1\)"),
        ("raise SystemError('gone')", r"its file raises SystemError: gone \(.*layers.py, line 1\)"),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_message_with_its_line(broken: str, message: str, here: Path) -> None:
    allowed.allow(["mylab"])
    (here / "mylab" / "layers.py").write_text(broken)

    with pytest.raises(UserError, match=message):
        allowed.import_class("mylab.layers.GatedShift")


def test_a_class_that_raises_while_it_is_built_is_one_message_with_its_line(here: Path) -> None:
    allowed.allow(["mylab"])
    file = here / "mylab" / "strict.py"
    file.write_text("class Strict:\n    def __init__(self, size: int) -> None:\n        assert size % 8 == 0, 'size'\n")

    with pytest.raises(
        UserError, match=r"x: Strict cannot be built; it raises AssertionError: size .*strict.py, line 3"
    ):
        instantiate({"_target_": "mylab.strict.Strict", "size": 5}, path="x")
