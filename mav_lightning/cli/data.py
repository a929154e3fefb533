"""``mav data``: write, pack, index, verify and show shards."""

from pathlib import Path
from typing import Annotated

import typer

from mav_lightning.cli.options import output
from mav_lightning.cli.pack import pack, prompts
from mav_lightning.cli.printing import echo, list_files
from mav_lightning.cli.progress import tracker

app = typer.Typer(no_args_is_help=True, help="Write, pack, index, verify and show datasets of tar shards.")

Root = Annotated[Path, typer.Argument(metavar="DIR", help="Dataset, or one folder of shards.", show_default=False)]
Out = Annotated[
    Path, typer.Option(callback=output("new folder"), help="Folder to write; must be new or empty.", show_default=False)
]
ShardSize = Annotated[int, typer.Option(help="Samples per shard.")]
Processes = Annotated[int | None, typer.Option(min=0, help="Processes at work; default: one per core.")]
_LISTED = 1000  # bad samples; `mav data lint` writes all


@app.command()
def shapes(
    out: Out,
    images: Annotated[int, typer.Option(help="Captioned training stills.")] = 4000,
    clips: Annotated[int, typer.Option(help="Unlabeled training clips.")] = 800,
    val_images: Annotated[int, typer.Option(help="Validation stills.")] = 360,
    val_clips: Annotated[int, typer.Option(help="Validation clips; 72 show every scene once.")] = 144,
    size: Annotated[int, typer.Option(help="Side of the frames in pixels, even.")] = 64,
    seconds: Annotated[float, typer.Option(help="Length of a clip in seconds.")] = 4.0,
    fps: Annotated[float, typer.Option(help="Frame rate of the clips in frames per second.")] = 32.0,
    seed: Annotated[int, typer.Option(help="Seed; the same seed writes the same bytes.")] = 0,
    shard_size: ShardSize = 1000,
    processes: Annotated[int | None, typer.Option(help="Rendering processes; by default one per core.")] = None,
) -> None:
    """Write Shapes World, the built-in dataset: colored shapes whose motion is not captioned.

    Example: mav data shapes --out runs/shapes --clips 200
    """
    from datamodules.shapes_world_shards import WriteShapesWorld

    task = WriteShapesWorld(
        seed=seed, images=images, clips=clips, val_images=val_images, val_clips=val_clips, size=size,
        seconds=seconds, fps=fps, shard_size=shard_size, processes=processes,
    )  # fmt: skip
    with tracker() as track:
        task.run(out, track=track)
    echo(f"{out}: {images} + {val_images} stills, {clips} + {val_clips} clips. Look: mav data show {out}")


app.command()(pack)
app.command()(prompts)


@app.command()
def index(
    root: Root,
    index: Annotated[
        Path | None,
        typer.Option(
            callback=output("folder"),
            help="For a read-only DIR: folder for the index, with links to the shards; use it in place of DIR.",
        ),
    ] = None,
    processes: Processes = None,
) -> None:
    """Scan every shard and write index.safetensors next to it: offsets, checksums, frame rates, sizes and errors.

    Examples:
        mav data index runs/mydata

        mav data index /share/mydata --index runs/mydata
    """
    from datamodules.index import build_index, shard_folders
    from datamodules.linked_shards import link_shards

    folders = shard_folders(root) if index is None else link_shards(root, index)
    with tracker() as track:
        built = [build_index(folder, track, processes) for folder in folders]
    for found in built:
        hidden = sum(shard.hidden for shard in found.shards)
        echo(
            f"{found.folder}: {len(found)} samples, {len(found.errors)} bad, sha256 {found.sha256[:16]}"
            + (f"; {hidden} hidden members skipped" if hidden else "")
        )
        list_files("bad", [f"{name}: {reason}" for name, reason in found.errors.items()], _LISTED)


@app.command()
def lint(root: Root, processes: Processes = None) -> None:
    """Verify checksums and decode every sample; the exit code is 1 if there is a problem.

    Example: mav data lint runs/mydata
    """
    from datamodules.lint import lint as lint_folders

    with tracker() as track:
        reports = lint_folders(root, track, processes)
    for report in reports:
        echo(
            f"{report.folder}: {report.samples} samples, {len(report.problems)} problems, "
            f"{report.uncaptioned} without a caption"
        )
        list_files("problems", [f"{name}: {problem}" for name, problem in report.problems.items()])
    if any(report.problems for report in reports):
        raise typer.Exit(1)


@app.command()
def embed(
    root: Root,
    clip: Annotated[Path, typer.Option(help="Folder of a trained or adopted CLIP.", show_default=False)],
) -> None:
    """Compute the CLIP embedding of every image and clip once and store it next to the shards.

    A clip's embedding is the mean over eight frames. Training with data.embeddings reads these instead of running the
    image encoder. They are identified by a hash of the CLIP. Runs on a GPU if available.

    Examples:
        mav data embed runs/shapes --clip runs/clip

        mav train stage/spatial_tiny.yaml needs.data=runs/shapes needs.clip=runs/clip data.embeddings=ID
    """
    import torch

    from datamodules.embedding_cache import write_embeddings
    from mav_lightning.common.machine import default_device
    from mav_lightning.modules.frozen import FrozenCLIP
    from mav_lightning.networks.stored import load_network, network_id

    encoder, identity = FrozenCLIP(load_network(clip)), network_id(clip)
    device = torch.device(default_device())
    with tracker() as track, torch.inference_mode():
        done = write_embeddings(root, lambda pixels: encoder(pixels.to(device)), identity, encoder.size, track)
    for path, bad in done.items():
        echo(str(path))
        list_files("not embedded", [f"{name}: {reason}" for name, reason in bad.items()])
    echo(f"Train with data.embeddings={identity}")


@app.command()
def show(
    root: Root,
    out: Annotated[Path, typer.Option(callback=output("file"), help="PNG file to write.")] = Path("contact-sheet.png"),
    rows: Annotated[int, typer.Option(help="Rows per folder of shards.")] = 4,
    columns: Annotated[int, typer.Option(help="Frames or images per row.")] = 8,
    seed: Annotated[int, typer.Option(help="Seed of the choice of samples.")] = 0,
) -> None:
    """Draw a contact sheet of a dataset.

    Example: mav data show runs/mydata --out sheet.png
    """
    from datamodules.contact_sheet import contact_sheet

    contact_sheet(root, out, rows=rows, columns=columns, seed=seed)
    echo(str(out))
