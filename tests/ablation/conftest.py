"""A study of stub stages: the quick study's shape, seconds to run."""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from stub_study import STUB_COMMAND
from stub_study import write_study as write_study_files

from mav_lightning.ablation.report import build, build_report
from mav_lightning.ablation.report.rendering import write_figures
from mav_lightning.ablation.run import run_study
from mav_lightning.ablation.study import Study
from mav_lightning.common.lease import held
from mav_lightning.runs.executor import Executor, Local


def stub_executor(study: Study) -> Executor:
    """Stub stages, one at a time."""
    return Local(command=STUB_COMMAND)


@pytest.fixture(scope="session")
def stub_command() -> tuple[str, ...]:
    return STUB_COMMAND


@pytest.fixture(scope="session")
def stubs() -> Callable[[Study], Executor]:
    return stub_executor


def _writer(folder: Path) -> Callable[..., Path]:
    return partial(write_study_files, folder)


@pytest.fixture(autouse=True)
def one_figure_file(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each report's first figure alone becomes files, which take half of a report's time; `all_figures` writes all."""
    if "all_figures" not in request.fixturenames:
        monkeypatch.setattr(build, "write_figures", lambda plots, folder: write_figures(plots[:1], folder))


@pytest.fixture
def all_figures() -> None:
    """Asks for every figure of a report as files."""


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
def finished_report(finished_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of that study's report, in a folder of its own; drawing its figures takes seconds."""
    return build_report(finished_study, tmp_path_factory.mktemp("report"))


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
