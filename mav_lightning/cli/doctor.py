"""``mav doctor``: what this machine has, and what is missing."""

import typer

__all__ = ["doctor"]

_CORE = (
    "torch", "lightning", "torchmetrics", "torchvision", "einops", "webdataset", "omegaconf", "tensorboard",
    "clean-fid", "av", "safetensors", "numpy", "scipy", "matplotlib", "pillow", "jinja2", "typer", "rich",
)  # fmt: skip
_EXTRAS = {
    "clip": ("transformers", "text and image encoders out of Hugging Face folders"),
    "ray": ("ray", "studies on a cluster"),
    "baselines": ("diffusers", "the networks of other libraries, to compare with"),
    "provenance": ("c2pa-python", "signed Content Credentials in generated files"),
    "dev": ("pytest", "tests, linting and type checks"),
}
_DECODERS = ("h264", "hevc", "av1", "vp9", "mpeg4", "ffv1", "gif")


def doctor() -> None:
    """Report versions, devices, video decoders and optional extras, and what each missing one would give.

    Exits with 1 if something is missing that training needs.

    Example: mav doctor
    """
    import platform
    import sys

    from rich.console import Console
    from rich.table import Table

    from mav_lightning import __version__
    from mav_lightning.common.machine import package_version

    console, broken = Console(), False
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_row("mav-lightning", __version__)
    table.add_row("python", f"{sys.version.split()[0]} on {platform.platform()}")
    for name in _CORE:
        version = package_version(name)
        broken |= version is None
        table.add_row(name, version or "[red]missing[/]: run `make install` or `pip install mav-lightning`")
    table.add_row("imports", _imports())
    for row in _devices():
        table.add_row(*row)
    table.add_row("decoders", _decoders())
    for extra, (package, gives) in _EXTRAS.items():
        version = package_version(package)
        missing = f"[yellow]missing[/]: would give {gives}; `pip install 'mav-lightning[{extra}]'`"
        table.add_row(f"extra {extra}", f"{package} {version}" if version else missing)
    console.print(table, soft_wrap=True, highlight=False)
    if broken:
        raise typer.Exit(1)


def _imports() -> str:
    """Whether lightning imports, which a mismatched torchvision can prevent."""
    from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

    try:
        ensure_torchvision_imports()
        import lightning  # noqa: F401
        import torchvision
    except (ImportError, RuntimeError) as error:
        return f"[red]lightning or torchvision fails to import[/] ({error}); reinstall with `make install`"
    declared = (
        "" if torchvision.extension._has_ops() else "; its operators are declared, not loaded (CUDA build, CPU torch)"
    )
    return f"lightning and torchvision import{declared}"


def _devices() -> list[tuple[str, str]]:
    import os

    import torch

    rows = [
        ("cpu", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}")
    ]
    rows += [("cuda", torch.cuda.get_device_name(i)) for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        rows.append(("mps", "available"))
    return (
        rows if len(rows) > 1 else [*rows, ("accelerator", "none: `tiny` is made for that, larger scales want a GPU")]
    )


def _decoders() -> str:
    import av

    found = [name for name in _DECODERS if name in av.codecs_available]
    missing = [name for name in _DECODERS if name not in found]
    return ", ".join(found) + (
        f"; [yellow]missing[/]: {', '.join(missing)}, such videos are left out" if missing else ""
    )
