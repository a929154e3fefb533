"""``mav data``: write, pack, index, verify and show shards."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mav_lightning.cli.options import Allow, Overwrite, existing, network_folder, output, within
from mav_lightning.cli.pack import pack, prompts
from mav_lightning.cli.printing import echo, list_files
from mav_lightning.cli.progress import tracker
from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import PositiveFloat, PositiveInt, Seed

_NOTES = 10  # captions with a warning to list
_LISTED = 1000  # bad samples; `mav data lint` writes all

app = typer.Typer(no_args_is_help=True, help="Write, pack, index, verify and show datasets of tar shards.")

Root = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        callback=existing("folder", "write shards with `mav data pack` or `mav data shapes`"),
        help="Dataset, or one folder of shards.",
        show_default=False,
    ),
]
Out = Annotated[
    Path, typer.Option(callback=output("new folder"), help="Folder to write; must be new or empty.", show_default=False)
]
Processes = Annotated[
    int | None, typer.Option(callback=within(PositiveInt), help="Processes at work; default: one per core.")
]


@app.command()
def shapes(
    out: Out,
    images: Annotated[int, typer.Option(callback=within(PositiveInt), help="Captioned training stills.")] = 4000,
    clips: Annotated[int, typer.Option(callback=within(PositiveInt), help="Unlabeled training clips.")] = 800,
    val_images: Annotated[int, typer.Option(callback=within(PositiveInt), help="Validation stills.")] = 360,
    val_clips: Annotated[
        int, typer.Option(callback=within(PositiveInt), help="Validation clips; 72 show every scene once.")
    ] = 144,
    size: Annotated[int, typer.Option(callback=within(PositiveInt), help="Side of the frames in pixels, even.")] = 64,
    level: Annotated[
        Literal["easy", "hard"], typer.Option(help="Laws of motion; the easy ones are straight and uniform.")
    ] = "hard",
    seconds: Annotated[
        float | None,
        typer.Option(
            callback=within(PositiveFloat), help="Length of a clip in seconds; by default 4, at level easy 2.25."
        ),
    ] = None,
    fps: Annotated[
        float, typer.Option(callback=within(PositiveFloat), help="Frame rate of the clips in frames per second.")
    ] = 32.0,
    seed: Annotated[int, typer.Option(callback=within(Seed), help="Seed; the same seed writes the same bytes.")] = 0,
    shard_size: Annotated[int, typer.Option(callback=within(PositiveInt), help="Samples per shard.")] = 1000,
    processes: Processes = None,
    overwrite: Overwrite = False,
) -> None:
    """Write Shapes World, the built-in dataset: colored shapes whose motion is not captioned.

    Example: mav data shapes --out runs/shapes --clips 200
    """
    from datamodules.shapes_world_shards import WriteEasyShapesWorld, WriteShapesWorld

    kind, usual = {"easy": (WriteEasyShapesWorld, 2.25), "hard": (WriteShapesWorld, 4.0)}[level]
    task = kind(
        seed=seed, images=images, clips=clips, val_images=val_images, val_clips=val_clips, size=size,
        seconds=usual if seconds is None else seconds, fps=fps, shard_size=shard_size, processes=processes,
    )  # fmt: skip
    with tracker() as track:
        task.run(out, track=track, overwrite=overwrite)
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
        samples, hidden = counted(len(found), "sample"), sum(shard.hidden for shard in found.shards)
        echo(
            f"{found.folder}: {samples}, {len(found.errors)} bad, sha256 {found.sha256[:16]}"
            + (f"; {counted(hidden, 'hidden member')} skipped" if hidden else "")
        )
        list_files("bad", [f"{name}: {reason}" for name, reason in found.errors.items()], _LISTED)


@app.command()
def lint(
    root: Root,
    clip: Annotated[
        Path | None,
        typer.Option(
            callback=network_folder,
            help="Folder of a trained CLIP, to name the words that it does not know or does not read. Default: a new "
            "small CLIP, which reads 16 words.",
            show_default=False,
        ),
    ] = None,
    processes: Processes = None,
    allow: Allow = None,
) -> None:
    """Verify checksums, decode every sample and check its caption; the exit code is 1 if there is a problem.

    It also lists words of captions that are unknown to the text encoder or cut off by its length limit; they are not
    counted as problems.

    Examples:
        mav data lint runs/mydata

        mav data lint runs/mydata --clip runs/clip
    """
    from datamodules.lint import lint as lint_folders
    from mav_lightning.cascade.prompt_check import describe_caption
    from mav_lightning.modules.frozen import FrozenCLIP
    from mav_lightning.networks.card import read_card
    from mav_lightning.networks.stored import load_network
    from mav_lightning.nn.small_clip import SmallCLIP

    encoder = FrozenCLIP(SmallCLIP() if clip is None else load_network(clip)).clip
    words = None if clip is None else read_card(clip).trained.words
    known = None if words is None else frozenset(words)
    with tracker() as track:
        reports = lint_folders(root, track, lambda caption: describe_caption(caption, encoder, known), processes)
    for report in reports:
        echo(
            f"{report.folder}: {counted(report.samples, 'sample')}, {counted(len(report.problems), 'problem')}, "
            f"{report.uncaptioned} without a caption"
        )
        list_files("", [f"{name}: {problem}" for name, problem in report.problems.items()], noun="problem")
        list_files("about captions", [f"{name}: {note}" for name, note in report.notes.items()], _NOTES, noun="warning")
    if any(report.problems for report in reports):
        raise typer.Exit(1)


@app.command()
def embed(
    root: Root,
    clip: Annotated[
        Path,
        typer.Option(callback=network_folder, help="Folder of a trained or adopted CLIP.", show_default=False),
    ],
    allow: Allow = None,
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
    from mav_lightning.networks.card import network_id
    from mav_lightning.networks.stored import load_network

    encoder, identity = FrozenCLIP(load_network(clip)), network_id(clip)
    device = torch.device(default_device())
    with tracker() as track, torch.inference_mode():
        done = write_embeddings(root, lambda pixels: encoder(pixels.to(device)), identity, encoder.size, track)
    for path, bad in done.items():
        echo(str(path))
        list_files("not embedded", [f"{name}: {reason}" for name, reason in bad.items()])
    echo(f"Train with data.embeddings={identity}")


@app.command()
def encode(
    root: Root,
    vae: Annotated[
        Path,
        typer.Option(
            callback=network_folder,
            help="Folder of an adopted autoencoder, see stage/vae_diffusers.yaml.",
            show_default=False,
        ),
    ],
    size: Annotated[
        int, typer.Option(callback=within(PositiveInt), help="Side of the squares in pixels, as the stages' `size`.")
    ],
    allow: Allow = None,
) -> None:
    """Compute the latents of every image and every frame once and store them next to the shards.

    A training with data.latents reads these in place of pixels, and data.embeddings in place of its image encoder. They
    are identified by a hash of the autoencoder and the size. An interrupted run goes on with the next shard. The last
    lines compare the flicker of some clips before and after encoding and decoding. Runs on a GPU if available.

    Examples:
        mav data encode runs/shapes --vae runs/vae --size 64

        mav train stage/temporal_grown.yaml needs.data=runs/shapes … data.latents=ID data.embeddings=ID
    """
    import torch

    from datamodules.latent_cache import write_latents
    from datamodules.latent_flicker import measure_flicker
    from mav_lightning.common.machine import default_device
    from mav_lightning.networks.card import network_id
    from mav_lightning.networks.stored import load_network
    from mav_lightning.nn.base import ImageAutoencoder

    network, identity, device = load_network(vae), network_id(vae), torch.device(default_device())
    if not isinstance(network, ImageAutoencoder):
        raise UserError(f"{vae}: holds a {type(network).__name__}; expected an autoencoder.", argument="vae")
    if size % network.factor:
        raise UserError(f"must be a multiple of {network.factor}, got {size}.", argument="size")
    network.to(device)
    with tracker() as track, torch.inference_mode():
        done = write_latents(root, lambda pixels: network.encode(pixels.to(device)), identity, size, track)
        flicker = measure_flicker(root, lambda pixels: network.decode(network.encode(pixels.to(device))), size)
    for path, bad in done.items():
        echo(str(path))
        list_files("not encoded", [f"{name}: {reason}" for name, reason in bad.items()])
    if flicker is not None:
        echo(
            f"Mean change from frame to frame in gray levels, before and after encoding, {flicker.clips} clips: "
            f"{flicker.original:.2f} and {flicker.decoded:.2f}; of the error {flicker.added:.2f}; of a static film "
            f"with noise of one level {flicker.static_original:.2f} and {flicker.static_decoded:.2f}"
        )
    echo(f"Train with data.latents={identity}")


@app.command()
def show(
    root: Root,
    out: Annotated[Path, typer.Option(callback=output("new file"), help="PNG file to write.")] = Path(
        "contact-sheet.png"
    ),
    rows: Annotated[int, typer.Option(callback=within(PositiveInt), help="Rows per folder of shards.")] = 4,
    columns: Annotated[int, typer.Option(callback=within(PositiveInt), help="Frames or images per row.")] = 8,
    seed: Annotated[
        int, typer.Option(callback=within(Seed), help="Seed of the choice of samples and of where clips start.")
    ] = 0,
    fps: Annotated[
        float | None,
        typer.Option(
            callback=within(PositiveFloat),
            help="Draw a clip as training cuts it at this frame rate; default: frames over the whole video.",
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            callback=within(PositiveInt),
            help="Reduce frames and images to this side in pixels first, as training does; default: no.",
            show_default=False,
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw a contact sheet of a dataset: samples with their file names, captions and frame rates.

    Examples:
        mav data show runs/mydata --out sheet.png

        mav data show runs/mydata --out seen.png --fps 8 --size 32
    """
    from datamodules.contact_sheet import contact_sheet

    contact_sheet(root, out, rows=rows, columns=columns, seed=seed, fps=fps, size=size)
    echo(str(out))
