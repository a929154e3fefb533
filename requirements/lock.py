"""Write the lock files in this folder from the versions that are installed beside the Python that runs this.

Run by ``make lock`` after ``make test`` has passed with these versions. The files hold exact versions, the hashes of
all files of a version and markers for other platforms, and no index addresses. torch and what only its CUDA build needs
are in ``torch-pypi.lock``, so that ``torch-cpu.lock`` can take its place.
"""

import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent
COMPILE = (
    "uv pip compile --quiet --generate-hashes --no-header --universal --fork-strategy fewest --python-version 3.11"
)
TORCH = re.compile(r"torch==|triton==|nvidia-|cuda-")


def installed_versions() -> str:
    """Return ``name==version`` of every installed package, without the build after the plus sign."""
    packages = importlib.metadata.distributions()
    return "".join(f"{package.metadata['Name']}=={package.version.split('+')[0]}\n" for package in packages)


def resolve(*extras: str) -> list[str]:
    """Return one text for each package that the project and these extras need: its pin, hashes and who needs it."""
    chosen = [f"--extra={extra}" for extra in extras]
    command = [sys.executable, "-m", *COMPILE.split(), "pyproject.toml", *chosen, "--constraints=-"]
    done = subprocess.run(command, cwd=FOLDER.parent, input=installed_versions(), text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"error: uv found no solution\n{done.stderr}")
    return re.findall(r"^\S.*\n(?: .*\n)*", done.stdout, re.MULTILINE)


def write(name: str, what: str, packages: Iterable[str]) -> None:
    """Write one lock file."""
    (FOLDER / name).write_text(f"# {what}. Written by `make lock`.\n" + "".join(packages))


def main() -> None:
    """Write core.lock, dev.lock and torch-pypi.lock."""
    core, dev = resolve(), resolve("dev")
    write("core.lock", "What `pip install .` needs, without torch", (one for one in core if not TORCH.match(one)))
    write("dev.lock", "What `pip install .[dev]` needs, without torch", (one for one in dev if not TORCH.match(one)))
    write("torch-pypi.lock", "torch as on PyPI, for Linux with CUDA", (one for one in core if TORCH.match(one)))
    if importlib.metadata.version("torch").split("+")[0] not in (FOLDER / "torch-cpu.lock").read_text():
        sys.exit("error: torch-cpu.lock has another version of torch; its first lines say how to change it")


if __name__ == "__main__":
    main()
