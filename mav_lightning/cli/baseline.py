"""``mav baseline``: trivial baselines, the floors and the ceiling of a table of results."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mav_lightning.cli.options import Allow, Overwrite, existing, output, protocol_name
from mav_lightning.cli.printing import echo
from mav_lightning.cli.progress import tracker
from mav_lightning.common.counting import counted

__all__ = ["baseline"]


def baseline(
    kind: Annotated[
        Literal["static", "shuffled", "real", "nearest"],
        typer.Argument(help="Kind of baseline, see above.", show_default=False),
    ],
    source: Annotated[
        Path,
        typer.Option(
            callback=existing("folder"),
            help="Real clips: a folder, tar shards, or a dataset with clips/train.",
            show_default=False,
        ),
    ],
    protocol: Annotated[
        str,
        typer.Option(
            callback=protocol_name, help="Name of a shipped protocol, or path of a .yaml file.", show_default=False
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(callback=output("new folder"), help="Folder to write; must be new or empty.", show_default=False),
    ],
    clips: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of clips, or for nearest, of candidates; default: as in the protocol, or one per video.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of all random choices; the same seed writes the same bytes.")
    ] = 0,
    split: Annotated[Literal["train", "val"], typer.Option(help="Split of a dataset.")] = "train",
    prompts: Annotated[
        Path | None,
        typer.Option(
            callback=existing("file"), help="For nearest: table id<TAB>prompt, a clip for each row.", show_default=False
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="For nearest: folder of weights; as `mav weights` has it by default.", show_default=False),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            callback=output("folder"),
            help="For nearest: where features are kept; default: ~/.cache/mav-lightning/features.",
            show_default=False,
        ),
    ] = None,
    overwrite: Overwrite = False,
    allow: Allow = None,
) -> None:
    """Write clips of a trivial baseline: a lower or upper bound to compare generated clips with.

    static repeats the first frame of real clips and shuffled permutes their frames: both have perfect frames and no
    true motion. real writes OUT/generated and OUT/real from two halves of the videos, so that real clips can be scored
    against real clips. nearest retrieves the real clip that matches each prompt best: a system that only memorizes. All
    are cut as the protocol cuts real clips.

    Examples:
        mav baseline static --source runs/shapes --protocol shapes-tiny --out runs/static

        mav baseline real --source runs/shapes --protocol shapes-tiny --out runs/ceiling

        mav baseline nearest --source runs/ucf101 --protocol mine.yaml --prompts prompts.tsv --out runs/nearest
    """
    from evaluation import load_protocol
    from evaluation.baselines import write_baseline, write_nearest
    from evaluation.feature_store import features_folder
    from mav_lightning.cli.evaluate import prompts_by_id
    from mav_lightning.common.errors import UserError
    from mav_lightning.common.machine import default_device

    if (kind == "nearest") != (prompts is not None):
        raise UserError(
            "nearest needs a table id<TAB>prompt, since it does not read the source's captions; give one."
            if prompts is None
            else f"only nearest uses prompts, not {kind}; leave them out.",
            argument="prompts",
        )
    loaded = load_protocol(protocol)
    with tracker() as track:
        if prompts is None:
            count = write_baseline(
                kind, source, loaded, out, clips=clips, seed=seed, split=split, track=track, overwrite=overwrite
            )
        else:
            count = write_nearest(
                source, loaded, out, prompts_by_id(prompts), clips=clips, seed=seed, split=split, weights=weights,
                features=features or features_folder(), device=default_device(),
                track=track, overwrite=overwrite,
            )  # fmt: skip
    echo(f"{counted(count, 'clip')}: {out}; score them with `mav evaluate --protocol {protocol}`")
