"""How the measures of transformers and LPIPS respond to altered clips, with untrained networks of these kinds.

    python benchmarks/untrained_responses.py UCF-101 > untrained.md

The metrics are those of the protocols `fvd-videomae-ssv2`, `jedi-vjepa2-ssv2`, `consistency` and `reconstruction`,
with small networks of random weights in place of the published ones. What such a metric cannot see is a property of
its construction, which holds for any weights; how strongly the published networks respond, it does not show. Clips and
alterations are those of `benchmarks/responses.py`. LPIPS has its published linear heads on an untrained AlexNet.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
import transformers
import typer
from responses import FRAMES, ROWS, SMALL, halves, head, line, taken, write_clips
from torchvision.models import alexnet

from evaluation.evaluator import evaluate
from evaluation.extraction import versions
from evaluation.protocol import Protocol, parse_protocol

SIZE = 112  # pixels that the transformers see
WIDTH = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 4}
PIXELS = {"resize": "torch-bilinear", "size": SIZE, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
EVERY = {"clips": None, "start": "first"}
SHARED: dict[str, Any] = {"frames": FRAMES, "fps": None, "stride": 1, "seed": 0, "batch": 8, "generated": EVERY}


def write_networks(folder: Path) -> None:
    """Write the untrained networks: weights of unit gain, so that features depend on what is seen."""
    torch.manual_seed(0)
    video = {"num_labels": 8, "patch_size": 16, **WIDTH}
    predictor = {"pred_hidden_size": 16, "pred_num_attention_heads": 2, "pred_num_hidden_layers": 1}
    models = {
        "videomae": transformers.VideoMAEForVideoClassification(
            transformers.VideoMAEConfig(image_size=SIZE, num_frames=FRAMES, intermediate_size=256, **video)
        ),
        "vjepa2": transformers.VJEPA2ForVideoClassification(
            transformers.VJEPA2Config(crop_size=SIZE, frames_per_clip=FRAMES, **video, **predictor)
        ),
        "vit": transformers.ViTModel(transformers.ViTConfig(image_size=SIZE, intermediate_size=256, **WIDTH)),
    }
    for name, model in models.items():
        for weight in model.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
        model.eval().save_pretrained(folder / name)
    torch.save(alexnet(weights=None).state_dict(), folder / "alexnet.pth")


def distances() -> Protocol:
    """Distances of clip features, to other videos as filmed."""
    real = EVERY | {"split": "val", "choice": "shuffled", "repeat": False, "fewer": False}
    extractors = {name: {"kind": "video-transformer", "weights": name, **PIXELS} for name in ("videomae", "vjepa2")}
    metrics = {
        "untrained-videomae-fvd": {"kind": "frechet", "of": "videomae", "divisor": "n"},
        "untrained-videomae-kvd": {"kind": "kernel", "of": "videomae"},
        "untrained-vjepa2-jedi": {
            "kind": "kernel",
            "of": "vjepa2",
            "degree": 2,
            "offset": 0.0,
            "pairs": "all",
            "scale": 100.0,
        },
    }
    values = {"resize": [], "real": real, "extractors": extractors, "metrics": metrics}
    return parse_protocol("untrained-distances", SHARED | values)


def originals() -> Protocol:
    """Consistency of frames, and LPIPS to the clip as filmed."""
    real = EVERY | {"split": "val", "choice": "first", "repeat": False, "fewer": False}
    extractors = {
        "vit": {"kind": "image-transformer", "weights": "vit", **PIXELS},
        "lpips": {"kind": "lpips", "weights": "alexnet.pth"},
    }
    metrics = {
        "untrained-consistency": {"kind": "frame-consistency", "of": "vit"},
        "untrained-subject": {"kind": "frame-consistency", "of": "vit", "against": "first-and-previous"},
        "untrained-lpips": {"kind": "lpips", "of": "lpips"},
    }
    squares = [{"rule": "box", "size": SMALL}]
    values = {"resize": squares, "real": real, "extractors": extractors, "metrics": metrics}
    return parse_protocol("untrained-originals", SHARED | values)


def run(folder: Path, work: Path, one_of: int) -> Iterator[str]:
    """Yield the lines of both tables as they come; the second is of one of `one_of` videos."""
    (first, second), judges = halves(folder), (distances(), originals())
    known = [f"{name} {versions()[name]}" for name in ("torch", "transformers", "av")]
    yield f"{len(first)} and {len(second)} source videos; " + ", ".join(
        known + [f"{protocol.name} {protocol.hash}" for protocol in judges]
    )
    write_networks(work)
    reals = {of: write_clips(work / f"real-{of}", taken(first, of), ROWS[0]) for of in {row.real for row in ROWS}}
    few = taken(second, one_of)
    reals[0] = write_clips(work / "originals", few, ROWS[0])
    yield head(list(judges[0].metrics))
    table = [head(list(judges[1].metrics))]
    for number, row in enumerate(ROWS):
        made = write_clips(work / f"{number:02d}", taken(first if row.between else second, row.made, row.between), row)
        yield _score(row.name, made, reals[row.real], judges[0], work)
        if not (row.between or row.made > 1 or row.real > 1):
            altered = write_clips(work / f"altered-{number:02d}", few, row)
            table.append(_score(row.name, altered, reals[0], judges[1], work))
    yield from table


def _score(name: str, made: Path, real: Path, protocol: Protocol, work: Path) -> str:
    found = evaluate(made, real, protocol, force=True, features=work / "features", weights=work)
    return line(name, found["n"], found["metrics"], list(protocol.metrics))


def main(
    folder: Annotated[
        Path, typer.Argument(help="Folder of real videos of 80 frames or more; shorter ones are skipped.")
    ],
    one_of: Annotated[int, typer.Option(help="Compare one of so many videos with its own altered copies.")] = 6,
) -> None:
    """Print the tables as Markdown."""
    with tempfile.TemporaryDirectory() as work:
        for text in run(folder, Path(work), one_of):
            print(text, flush=True)


if __name__ == "__main__":
    typer.run(main)
