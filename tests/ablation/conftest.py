"""A study of stub stages: the quick study's shape, seconds to run."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mav_lightning.ablation.run import run_study
from mav_lightning.ablation.study import Study
from mav_lightning.common.lease import held
from mav_lightning.runs.executor import Executor, Local

STUB_COMMAND = (sys.executable, str(Path(__file__).with_name("stub_stage.py")))

_STAGES = {
    "data": "kind: data\nsize: 16\n",
    "clip": "kind: train\nseed: 0\nframes: 3\nneeds: {data: '@data'}\n",
    "spatial": "kind: train\nseed: 0\nframes: 9\nneeds: {data: '@data', clip: '@clip'}\n",
    "temporal": "kind: train\nseed: 0\nframes: 8\nneeds: {data: '@data', parent: '@parent'}\n",
    "sample": "kind: sample\nseed: 0\nsize: 16\nframes: 9\nneeds: {decoder: '@decoder'}\n",
    "score": "kind: score\nneeds: {real: '@real', generated: '@generated'}\n",
}
_NEEDS = {
    "data": "{}",
    "clip": "{data: data}",
    "spatial": "{data: data, clip: clip}",
    "temporal": "{data: data, parent: spatial}",
    "sample": "{decoder: temporal}",
    "score": "{real: data, generated: sample}",
}
_STUDY = """
question: Do temporal layers make motion, or are independent frames enough?
recipe: {recipe}
seeds: [0, 1]
baseline: temporal
metrics:
  - {{name: shapes-fvd, better: lower}}
  - {{name: law, better: higher}}
  - {{name: flicker, better: lower}}
  - {{name: appearance, better: higher}}
overrides: {{temporal.frames: 9}}
variants:
  temporal: {{}}
  per_frame: {{sample.needs.decoder: spatial}}
"""


def stub_executor(study: Study) -> Executor:
    """Stub stages, one at a time."""
    return Local(command=STUB_COMMAND)


@pytest.fixture(scope="session")
def stub_command() -> tuple[str, ...]:
    return STUB_COMMAND


@pytest.fixture(scope="session")
def stubs() -> Callable[[Study], Executor]:
    return stub_executor


@pytest.fixture
def write_study(tmp_path: Path) -> Callable[..., Path]:
    """Writes stage configs, a recipe and the study; pairs of (old, new) edit the study's text."""
    return _writer(tmp_path)


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the study, run to its end; read it, and write nothing into it but reports."""
    folder = tmp_path_factory.mktemp("finished")
    run_study(_writer(folder)(), folder / "out", executor=stub_executor)
    return folder / "out"


@pytest.fixture(scope="session")
def trained() -> Callable[[Path], dict[str, tuple[int, str]]]:
    """Folder of each finished training of a study → the step and the state it ended with."""

    def read(out: Path) -> dict[str, tuple[int, str]]:
        return {file.parent.name: tuple(json.loads(file.read_text())) for file in out.glob("stages/*/weights.txt")}

    return read


@pytest.fixture(scope="session")
def lost_ends() -> Callable[[Path], int]:
    """Ends that stages have traced and that no ``done.json`` came of, once nothing runs in the study any more."""

    def count(out: Path) -> int:
        while any(held(folder) for folder in out.glob("stages/*")):
            time.sleep(0.01)
        trace = out / "trace.txt"
        lines = trace.read_text().splitlines() if trace.exists() else []
        return sum(line.startswith("end ") for line in lines) - len(list(out.glob("stages/*/done.json")))

    return count


def _writer(tmp_path: Path) -> Callable[..., Path]:
    def write(*edits: tuple[str, str]) -> Path:
        for name, text in _STAGES.items():
            (tmp_path / f"{name}.yaml").write_text(f"name: {name}\n{text}")
        stages = "".join(f"  {n}: {{config: {tmp_path / n}.yaml, needs: {_NEEDS[n]}}}\n" for n in _STAGES)
        (tmp_path / "recipe.yaml").write_text(f"stages:\n{stages}")
        text = _STUDY.format(recipe=tmp_path / "recipe.yaml")
        for old, new in edits:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "quick.yaml").write_text(text)
        return tmp_path / "quick.yaml"

    return write
