"""The wheel and the source archive in dist/, as `make dist` builds them: what they hold, and that they work alone."""

import json
import os
import re
import subprocess
import tarfile
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("mav_lightning", "datamodules", "evaluation")

pytestmark = pytest.mark.package


def tracked() -> set[str]:
    """Files that belong to the project: git's, or in an unpacked source archive all."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(listed.stdout.splitlines())


def built(pattern: str) -> Path:
    (archive,) = (ROOT / "dist").glob(pattern)
    return archive


def run(command: list[str], folder: Path) -> str:
    """Run a command that sees neither the checkout nor the user's settings, and return what it printed."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(command, cwd=folder, env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module", params=["*.whl", "*.tar.gz"], ids=["wheel", "source archive"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Runs a program of an environment that holds this archive and its dependencies only, in an empty folder."""
    place = tmp_path_factory.mktemp("installed")
    venv.create(place / "env", with_pip=True)
    programs, work = place / "env" / "bin", place / "work"
    work.mkdir()
    run([str(programs / "python"), "-m", "pip", "install", "--quiet", "--no-compile", str(built(request.param))], work)
    return lambda program, *arguments: run([str(programs / program), *arguments], work)


def test_the_wheel_holds_the_packages_and_the_configs_and_nothing_else() -> None:
    held = {name for name in zipfile.ZipFile(built("*.whl")).namelist() if ".dist-info/" not in name}
    sources = {name for name in tracked() if name.startswith(PACKAGES)}
    configs = {f"mav_lightning/{name}" for name in tracked() if name.startswith("conf/")}
    assert held == sources | configs
    assert {f"{package}/py.typed" for package in PACKAGES} <= held
    assert "mav_lightning/weights/tiny/decoder/weights.safetensors" in held


def test_the_source_archive_holds_what_git_tracks() -> None:
    with tarfile.open(built("*.tar.gz")) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert held == tracked() | {"PKG-INFO"}


def test_an_installed_archive_works(installed: Callable[..., str]) -> None:
    """From a dataset to an evaluated clip, by the commands of the README."""
    assert re.search(r"\d+\.\d+\.\d+", installed("mav", "version"))

    installed("mav", *"data shapes --out shapes --images 4 --clips 4 --val-images 4 --val-clips 8".split())
    installed("mav", "generate", "a red circle", *"--per-prompt 4 --steps 2 --no-mark --out clips".split())
    installed("mav", *"evaluate --generated clips --real shapes --protocol shapes-tiny-64 --force --out r.json".split())
    shown = installed("python", "-c", "print(open('r.json').read())")
    assert json.loads(shown)["metrics"]["shapes-fvd"]["n"] == 4

    assert "Nothing was run." in installed("mav", "ablate", "ablation/quick.yaml", "--dry-run")


def test_the_first_python_example_of_the_readme_works(installed: Callable[..., str]) -> None:
    (example, *_) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert "(1, 33, 64, 64, 3)" in installed("python", "-c", example)


def test_the_tests_in_the_source_archive_pass(installed: Callable[..., str], tmp_path: Path) -> None:
    with tarfile.open(built("*.tar.gz")) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    installed("python", "-m", "pip", "install", "--quiet", "--no-compile", "pytest")
    settings = ["--config-file", str(source / "pyproject.toml"), "--verbose"]
    assert " passed" in installed("python", "-m", "pytest", *settings, str(source / "tests" / "nn"))
