"""``mav config``: print a resolved config."""

from typing import Annotated

import typer

from mav_lightning.cli.options import Allow
from mav_lightning.cli.printing import echo

__all__ = ["config"]


def config(
    file: Annotated[str | None, typer.Argument(help="Config of a stage, for example stage/temporal_tiny.yaml.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Overrides key=value, for example module.denoising.cond_dropout=0.2.")
    ] = None,
    list_shipped: Annotated[bool, typer.Option("--list", help="List the shipped configs.")] = False,
    allow: Allow = None,
) -> None:
    """Print a config with its bases merged, overrides applied, interpolations resolved and defaults filled in.

    Every key is checked against the signature of what it configures, but nothing is built.

    Example: mav config stage/temporal_tiny.yaml fit.steps=500
    """
    from mav_lightning.common.configs import conf_root
    from mav_lightning.common.errors import UserError
    from mav_lightning.config import load_config

    if list_shipped:
        for path in sorted(conf_root().rglob("*.yaml")):
            echo(str(path.relative_to(conf_root())))
        return
    if file is None:
        raise UserError("no config given; for example `mav config stage/temporal_tiny.yaml`, or `mav config --list`.")
    from omegaconf import OmegaConf

    echo(OmegaConf.to_yaml(OmegaConf.create(load_config(file, overrides or []))), nl=False)
