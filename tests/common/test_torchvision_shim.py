"""torchvision imports first in a script, whether or not its operators match torch."""

import os
import subprocess
import sys
from pathlib import Path

from mav_lightning.common.torchvision_shim import HOOK, shim_is_needed, write_hook

ROOT = Path(__file__).parent.parent.parent


def test_torchvision_imports_as_the_first_line_of_a_script(tmp_path: Path) -> None:
    written = write_hook(tmp_path)
    assert (written == tmp_path / HOOK) == shim_is_needed()
    script = f"import site; site.addsitedir({str(tmp_path)!r}); import torchvision; print(torchvision.__version__)"

    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr


def test_the_command_writes_the_hook_where_it_is_needed(tmp_path: Path) -> None:
    script = (
        "import runpy, sys, sysconfig; sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != '_Hook']\n"
    )
    script += "[sys.modules.pop(name) for name in list(sys.modules) if name.startswith('mav_lightning')]\n"
    script += f"sysconfig.get_path = lambda name: {str(tmp_path)!r}\n"
    script += "runpy.run_module('mav_lightning.common.torchvision_shim', run_name='__main__')"

    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / HOOK).exists() == shim_is_needed()


def test_each_package_of_this_project_makes_torchvision_importable() -> None:
    script = "import os, sys, torch; sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != '_Hook']\n"
    script += "[sys.modules.pop(name) for name in list(sys.modules) if name.startswith('mav_lightning')]\n"
    script += "for first in ('mav_lightning', 'datamodules', 'evaluation'):\n"
    script += "    if not (child := os.fork()):\n"  # each package is the first one, and torch is imported once
    script += "        __import__(first), __import__('torchvision'), os._exit(0)\n"
    script += "    assert os.waitpid(child, 0)[1] == 0, first"

    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_the_hook_is_silent_without_this_project(tmp_path: Path) -> None:
    if write_hook(tmp_path) is None:
        return
    code = (tmp_path / HOOK).read_text().replace("mav_lightning", "absent_package")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
