"""A user's own folder named like one of our packages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("name", ["datamodules", "evaluation"])
@pytest.mark.parametrize(
    "start", [["-m", "mav_lightning", "data", "index", "."], ["-c", "import mav_lightning.modules"]]
)
def test_a_folder_that_hides_ours_is_named_in_one_message(tmp_path: Path, name: str, start: list[str]) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PYTHONSAFEPATH": ""}
    done = subprocess.run([sys.executable, *start], cwd=tmp_path, env=environment, capture_output=True, text=True)
    message = f"{tmp_path / name}: hides mav-lightning's package `{name}`"
    assert message in done.stderr.replace("\n", "")
    if start[0] == "-m":
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
    assert "ImportError" not in done.stderr
