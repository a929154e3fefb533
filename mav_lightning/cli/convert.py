"""``mav convert``: rewrite what version 0.1 wrote."""

from pathlib import Path
from typing import Annotated

import typer

from mav_lightning.cli.options import Allow, Overwrite, existing, output
from mav_lightning.cli.printing import echo

__all__ = ["convert"]


def convert(
    folder: Annotated[
        Path,
        typer.Argument(
            callback=existing("folder"), help="Folder of a network or of a pipeline, as version 0.1 wrote it."
        ),
    ],
    out: Annotated[Path, typer.Option(callback=output("new folder"), help="New folder to write to.")],
    overwrite: Overwrite = False,
    allow: Allow = None,
) -> None:
    """Rewrite a network or a pipeline of version 0.1 in today's format.

    The weights keep their values, so the network gives the same outputs. The source is left as it is.

    Example: mav convert runs/old/pipeline --out runs/pipeline
    """
    from mav_lightning.cascade.pipeline_file import CONFIG, PIPELINE
    from mav_lightning.common.whole_file import new_folder
    from mav_lightning.networks.card import NETWORK
    from mav_lightning.networks.conversion import convert_network

    is_pipeline = (folder / CONFIG).is_file()
    replaced = PIPELINE if is_pipeline else NETWORK
    with new_folder(out, replaced if overwrite else None) as partial:
        if is_pipeline:
            _pipeline(folder, partial)
        else:
            convert_network(folder, partial)
    echo(f"converted: {out}")


def _pipeline(folder: Path, out: Path) -> None:
    import tempfile
    from dataclasses import fields
    from typing import Any

    from mav_lightning.cascade.pipeline_folder import NetworkFolders, write_pipeline
    from mav_lightning.cascade.sampling import Sampling
    from mav_lightning.common.errors import UserError
    from mav_lightning.common.schema import build, read_json
    from mav_lightning.networks.conversion import convert_network, is_old

    content = read_json(folder / "pipeline.json", dict[str, Any])
    sampling = build(Sampling, content.get("sampling"), f"{folder / 'pipeline.json'}: sampling")
    networks = {one.name: folder / one.name for one in fields(NetworkFolders) if (folder / one.name).is_dir()}
    old = [role for role, network in networks.items() if is_old(network)]
    if not old:
        raise UserError(f"{folder}: holds no networks in the format of version 0.1; nothing to convert.")
    with tempfile.TemporaryDirectory() as place:
        for role in old:
            convert_network(networks[role], Path(place) / role)
        write_pipeline(out, sampling, NetworkFolders(**networks | {role: Path(place) / role for role in old}))
