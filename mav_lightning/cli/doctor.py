"""``mav doctor``: report on this machine and environment."""

from typing import TYPE_CHECKING

import typer

from mav_lightning.common.counting import counted
from mav_lightning.common.optional_import import how_to_install

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["doctor"]

_CORE = (
    "torch", "lightning", "torchmetrics", "torchvision", "einops", "webdataset", "omegaconf", "tensorboard",
    "clean-fid", "av", "safetensors", "numpy", "scipy", "matplotlib", "pillow", "jinja2", "typer", "rich",
)  # fmt: skip
_EXTRAS = {
    "clip": ("transformers", "CLIP encoders from Hugging Face folders"),
    "ray": ("ray", "studies on a cluster"),
    "baselines": ("diffusers", "baseline networks of other libraries"),
    "diffusers": ("diffusers", "image networks to extend by time"),
    "scenes": ("scenedetect-headless", "scene cuts at packing"),
    "provenance": ("c2pa-python", "signed Content Credentials in generated files"),
    "dev": ("pytest", "tests, linting and type checks"),
}
_INSTALL = ": run `make install`, or `pip install .` in a checkout of mav-lightning"
_DECODERS = ("h264", "hevc", "av1", "vp9", "mpeg4", "ffv1", "gif")


def doctor() -> None:
    """Report versions, devices, video decoders and optional extras.

    The exit code is 1 if something that training needs is missing.

    Example: mav doctor
    """
    import platform
    import sys

    from rich.table import Column, Table

    from mav_lightning import __version__
    from mav_lightning.common.console import SafeConsole, styled
    from mav_lightning.common.machine import package_version

    console, broken = SafeConsole(), False
    table = Table("", Column(overflow="fold"), box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_row("mav-lightning", __version__)
    table.add_row("python", f"{sys.version.split()[0]} on {platform.platform()}")
    for name in _CORE:
        version = package_version(name)
        broken |= version is None
        table.add_row(name, version or styled(("missing", "red"), _INSTALL))
    table.add_row("imports", _imports())
    for row in _devices():
        table.add_row(*row)
    table.add_row("decoders", _decoders())
    for extra, (package, use) in _EXTRAS.items():
        version = package_version(package)
        missing = styled(("missing", "yellow"), f", needed for {use}: {how_to_install(extra)}")
        table.add_row(f"extra {extra}", f"{package} {version}" if version else missing)
    console.print(table, soft_wrap=True, highlight=False)
    if broken:
        raise typer.Exit(1)


def _imports() -> "str | Text":
    """Report whether lightning imports, which a torchvision that does not match torch can prevent."""
    import sysconfig
    from pathlib import Path

    from mav_lightning.common.console import styled
    from mav_lightning.common.torchvision_shim import HOOK, shim_is_needed

    try:
        needed = shim_is_needed()
        import lightning  # noqa: F401
    except (ImportError, RuntimeError) as error:
        what = "lightning or torchvision fails to import"
        return styled((what, "red"), f" ({error}); reinstall with `make install`")
    if not needed:
        return "lightning and torchvision import"
    if (Path(sysconfig.get_path("purelib")) / HOOK).is_file():
        return f"lightning and torchvision import; torchvision's operators do not match torch ({HOOK} declares them)"
    return styled(
        ("`import lightning` fails as a script's first line", "yellow"),
        ", as torchvision's operators do not match torch: "
        "run `python -m mav_lightning.common.torchvision_shim` once, or install a torchvision built for this torch "
        "(for a CPU: `pip install torchvision --index-url https://download.pytorch.org/whl/cpu`)",
    )


def _devices() -> list[tuple[str, str]]:
    import os

    import torch

    rows = [
        (
            "cpu",
            f"{counted(os.cpu_count() or 1, 'core')}, {counted(torch.get_num_threads(), 'thread')}, "
            f"{torch.backends.cpu.get_cpu_capability()}",
        )
    ]
    rows += [("cuda", torch.cuda.get_device_name(i)) for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        rows.append(("mps", "available"))
    return rows if len(rows) > 1 else [*rows, ("accelerator", "none: use scale `tiny`; larger scales need a GPU")]


def _decoders() -> "Text":
    import av

    from mav_lightning.common.console import styled

    found = [name for name in _DECODERS if name in av.codecs_available]
    missing = [name for name in _DECODERS if name not in found]
    told = ("; ", ("missing", "yellow"), f": {', '.join(missing)}, such videos cannot be read") if missing else ()
    return styled(", ".join(found), *told)
