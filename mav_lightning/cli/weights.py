"""``mav weights``: weights of the extractors that published protocols use."""

from pathlib import Path
from typing import Annotated

import typer

from mav_lightning.cli.printing import echo
from mav_lightning.cli.progress import tracker
from mav_lightning.common.counting import counted

app = typer.Typer(
    no_args_is_help=True, help="List, check and download weights of the extractors that published protocols use."
)

Folder = Annotated[
    Path | None,
    typer.Option(
        help="Folder of weights; default: $MAV_WEIGHTS, else ~/.cache/mav-lightning/weights.", show_default=False
    ),
]


def _known(name: str) -> str:
    from evaluation.weight_files import find_weights

    return find_weights(name).name


@app.command(name="list")
def list_weights(folder: Folder = None) -> None:
    """List known weights, whether they are present, and their origin and license.

    Example: mav weights list
    """
    from evaluation.weight_files import known_weights, weights_folder

    root = weights_folder(folder)
    echo(f"in {root}")
    for weights in known_weights().values():
        there, missing = weights.there(root), weights.missing(root)
        state = f"{len(missing)} missing" if there and missing else "present" if there else "not present"
        echo(f"{weights.name}: {state}")
        echo(f"  {weights.what}")
        echo(f"  from: {weights.where}")
        echo(f"  license: {weights.licence or 'not stated'}")
    echo("None is shipped; `mav weights fetch NAME` downloads one, under its own license.")


@app.command()
def check(folder: Folder = None) -> None:
    """Verify the weights that are present; exit with code 1 if any differ from the known ones.

    Prints "unpinned" and the hash found for files whose hash was never published.

    Example: mav weights check
    """
    from evaluation.weight_files import check_weights, known_weights, weights_folder
    from mav_lightning.common.errors import UserError

    root, checked, differing = weights_folder(folder), 0, 0
    for weights in known_weights().values():
        for file in weights.there(root):
            path, checked = weights.path(file, root), checked + 1
            try:
                sha256 = check_weights(path, file.sha256, file.git_blob)
                echo(f"{'ok' if file.pinned else 'unpinned'}  {path}  sha256 {sha256}")
            except UserError as error:
                differing += 1
                echo(f"differs  {error}")
    echo(f"{root}: {counted(checked, 'file')} of known weights, {counted(differing, 'differs', 'differ')}")
    if differing:
        raise typer.Exit(1)


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(callback=_known, help="Name in `mav weights list`.", show_default=False)],
    folder: Folder = None,
) -> None:
    """Download missing weights, and keep only files with the known hash.

    Examples:
        mav weights fetch i3d_torchscript.pt

        mav weights fetch openai/clip-vit-base-patch32
    """
    from evaluation.weight_downloads import fetch_weights
    from evaluation.weight_files import find_weights, weights_folder

    weights, root = find_weights(name), weights_folder(folder)
    with tracker() as track:
        fetched = fetch_weights(weights, root, track)
    for path, sha256 in fetched.items():
        echo(f"{path}  sha256 {sha256}")
    if not fetched:
        echo(f"{root / weights.name}: all there already")
    unpinned = [file.name for file in weights.files if not file.pinned]
    if fetched and unpinned:
        echo(f"unpinned: no published hash exists of {', '.join(unpinned)}; keep the one above with your results")
    echo(f"license: {weights.licence or 'not stated'}")
