"""How every measure of Shapes World responds to what is done to its clips, where better and worse are known.

    python benchmarks/shapes_responses.py > responses.md

Clips of 9 frames at 8 frames per second are rendered at 16 pixels, altered, and scored by the networks that ship,
against as many other renders; PSNR and SSIM compare them with themselves before they were altered. All rows have the
scenes and the motions of the first.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from evaluation import Clip, Protocol, evaluate, load_protocol
from evaluation.clip_sources import Frames
from evaluation.protocol import parse_protocol
from mav_lightning.common.shapes_world.laws import LAW_OF_SHAPE, sample_motion
from mav_lightning.common.shapes_world.scene import Scene, all_scenes, caption, render
from mav_lightning.common.video_encoding import encode_mp4
from mav_lightning.media.media_reader import read_frames

FRAMES, FPS, SIZE, EVERY = 9, 8.0, 16, 4
TIMES = np.arange(FRAMES) / FPS
TABLES = (
    ("shapes-fvd", "shapes-kvd", "shapes-fid", "shapes-clipsim", "shapes-consistency", "shapes-subject"),
    ("appearance", "law", "speed-ratio", "flicker", "shapes-ghosts", "moving-displacement", "warped-flicker"),
    ("temporal-consistency", "freeze-share", "psnr", "ssim"),
)
Make = Callable[[Scene, NDArray[np.float64], np.random.Generator], Frames]  # at these times


def rendered(scene: Scene, times: NDArray[np.float64], rng: np.random.Generator, law: str | None = None) -> Frames:
    """A clip of the scene's own law, or of another."""
    return render(scene, sample_motion(law or LAW_OF_SHAPE[scene.shape], rng).at(times), SIZE)


def another_law(scene: Scene, times: NDArray[np.float64], rng: np.random.Generator) -> Frames:
    """That of another shape."""
    others = sorted(set(LAW_OF_SHAPE.values()) - {LAW_OF_SHAPE[scene.shape]})
    return rendered(scene, times, rng, others[int(rng.integers(len(others)))])


def unrelated(scene: Scene, times: NDArray[np.float64], rng: np.random.Generator) -> Frames:
    """Every frame of a motion of its own."""
    return np.concatenate([rendered(scene, times[:1], rng) for _ in times])


def blended(frames: Frames, rng: np.random.Generator) -> Frames:
    """Mixed from every fourth frame, as a linear interpolation does."""
    places = np.arange(FRAMES) / EVERY
    low = np.minimum(places.astype(int), (FRAMES - 1) // EVERY - 1)
    share = (places - low)[:, None, None, None]
    given = frames[::EVERY].astype(np.float64)
    return np.round(given[low] * (1 - share) + given[low + 1] * share).astype(np.uint8)


def blurred(frames: Frames, rng: np.random.Generator) -> Frames:
    """By a pixel."""
    return np.stack([np.asarray(Image.fromarray(one).filter(ImageFilter.GaussianBlur(1))) for one in frames])


def brighter(frames: Frames, rng: np.random.Generator) -> Frames:
    """And darker, by up to 10 levels, frame by frame."""
    return (frames + rng.uniform(-10, 10, (FRAMES, 1, 1, 1))).clip(0, 255).astype(np.uint8)


def compressed(frames: Frames, rng: np.random.Generator) -> Frames:
    """H.264 at crf 28."""
    return read_frames(encode_mp4(frames, FPS, 28))


def as_made(frames: Frames, rng: np.random.Generator) -> Frames:
    """Not altered."""
    return frames


ROWS: dict[str, tuple[Make, Callable[[Frames, np.random.Generator], Frames]]] = {
    "as rendered": (rendered, as_made),
    "H.264, crf 28": (rendered, compressed),
    "blurred by a pixel": (rendered, blurred),
    "brightness ±10 levels": (rendered, brighter),
    "half speed": (lambda scene, times, rng: rendered(scene, times / 2, rng), as_made),
    "another shape's law": (another_law, as_made),
    "every frame twice": (rendered, lambda frames, rng: frames.repeat(2, axis=0)[:FRAMES]),
    "blends of every fourth frame": (rendered, blended),
    "shuffled": (rendered, lambda frames, rng: frames[rng.permutation(FRAMES)]),
    "first frame, frozen": (rendered, lambda frames, rng: frames[:1].repeat(FRAMES, axis=0)),
    "unrelated frames": (unrelated, as_made),
}


def clips(row: str, count: int, seed: int) -> list[Clip]:
    """Clips of a row, each of a draw of its own."""
    make, alter = ROWS[row]
    found = []
    for number in range(count):
        scene = all_scenes()[number % len(all_scenes())]
        frames = make(scene, TIMES, np.random.default_rng((seed, number)))
        frames = alter(frames, np.random.default_rng((seed, number, 1)))
        found.append(Clip(f"{number:03}", frames, FPS, caption(scene, number), scene.attributes()))
    return found


def protocols(count: int) -> tuple[Protocol, Protocol]:
    """Everything at once, and what compares a clip with its original."""
    tiny = load_protocol("shapes-tiny").to_dict()
    values: dict[str, Any] = {
        key: value for key, value in tiny.items() if key not in ("name", "hash", "measures", "follows", "unknown")
    }
    for part in ("extractors", "metrics"):
        values[part] = {
            name: {key: value for key, value in one.items() if not key.startswith("source")}
            for name, one in values[part].items()
        }
    values |= {"fps": [FPS], "resize": []}
    values["real"] |= {"clips": count, "start": "first", "choice": "first", "repeat": False}
    values["extractors"] |= {"areas": {"kind": "shapes-areas"}, "motion": {"kind": "motion"}}
    values["metrics"] |= {
        "shapes-consistency": {"kind": "frame-consistency", "of": "image"},
        "shapes-subject": {"kind": "frame-consistency", "of": "image", "against": "first-and-previous"},
        "shapes-ghosts": {"kind": "ghosts", "of": "areas", "every": EVERY},
        "motion": {"kind": "motion", "of": "motion"},
    }
    whole = parse_protocol("shapes-responses", values)
    frames = {"extractors": {"frames": {"kind": "frames"}}}
    frames["metrics"] = {"psnr": {"kind": "psnr", "of": "frames"}, "ssim": {"kind": "ssim", "of": "frames"}}
    return whole, parse_protocol("shapes-originals", values | frames)


def cell(score: dict[str, Any]) -> str:
    """Value and interval."""
    bounds = "–".join(f"{bound:.3g}" for bound in score["interval"] or ())
    return "–" if score["value"] is None else f"{score['value']:.3g}" + (f" ({bounds})" if bounds else "")


def lines(count: int, columns: Sequence[Sequence[str]]) -> Iterator[str]:
    """All tables."""
    whole, originals = protocols(count)
    yield f"{count} clips on either side; {whole.name} {whole.hash}"
    real, first, found = clips("as rendered", count, 1), clips("as rendered", count, 0), {}
    real = [replace(clip, id=f"real-{clip.id}") for clip in real]
    for row in ROWS:
        made = clips(row, count, 0)
        found[row] = evaluate(made, real, whole)["metrics"] | evaluate(made, first, originals)["metrics"]
    for names in columns:
        yield f"\n| altered | {' | '.join(names)} |\n|{'---|' * (1 + len(names))}"
        for row, metrics in found.items():
            yield f"| {row} | {' | '.join(cell(metrics[name]) for name in names)} |"


def main(count: Annotated[int, typer.Option(help="Clips on either side.")] = 144) -> None:
    """Print the tables as Markdown."""
    for line in lines(count, TABLES):
        print(line, flush=True)


if __name__ == "__main__":
    typer.run(main)
