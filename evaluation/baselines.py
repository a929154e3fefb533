"""Trivial baselines: clips from real videos, as a floor and a ceiling for every table of results."""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from evaluation.clip_selection import plan_real
from evaluation.clip_sources import Frames, VideoSource, with_content
from evaluation.cuts import Cut, read_cut
from evaluation.discovery import known_kinds
from evaluation.extraction import Extraction
from evaluation.extractors.base import ExtractorSettings, TextExtractor
from evaluation.failures import Failures
from evaluation.folders import Split, open_clips
from evaluation.protocol import Protocol, RealClips, load_protocol
from evaluation.weight_files import weights_folder
from mav_lightning.common.arguments import check_argument
from mav_lightning.common.errors import UserError, nearest
from mav_lightning.common.manifest import MANIFEST, ClipRecord, write_manifest
from mav_lightning.common.output import FolderContent
from mav_lightning.common.planned_clips import PlannedClips
from mav_lightning.common.schema import PositiveInt
from mav_lightning.common.task import Task
from mav_lightning.common.tracking import Track, untracked
from mav_lightning.common.video_encoding import write_lossless
from mav_lightning.common.whole_file import new_folder

__all__ = ["KINDS", "WriteFloor", "write_baseline", "write_nearest"]

KINDS = ("static", "shuffled", "real")  # kinds that need no prompts
_CONTENT = FolderContent((MANIFEST, "*.mkv", f"*/{MANIFEST}", "*/*.mkv"), sign=f"**/{MANIFEST}")
_STREAM = 0xBA5E  # separates these random numbers from a protocol's, whose seed may be the same number


def write_baseline(
    kind: str,
    source: Path,
    protocol: Protocol,
    out: Path,
    *,
    clips: int | None = None,
    seed: int = 0,
    split: Split = "train",
    track: Track = untracked,
    overwrite: bool = False,
) -> int:
    """Write clips cut from real videos, optionally corrupted, that a protocol can measure.

    If the protocol has a stride, the frames in between are written too, and skipped by `evaluate`.

    Args:
        kind: ``static`` repeats the first frame of each clip; ``shuffled`` permutes its frames, never as the identity;
            ``real`` keeps them, and writes ``out/generated`` and ``out/real`` from two halves of the videos that
            share no group.
        source: Folder of real videos, see `evaluation.folders.open_clips`.
        protocol: Protocol that sets length, frame rate and size of clips, and where in a video they start.
        out: Folder that does not exist yet or is empty; it appears when all clips are written.
        clips: Number of clips on the generated side. None for the protocol's number, or one per video. Videos are
            reused if there are fewer.
        seed: Random seed; the same seed gives the same bytes.
        split: Split of a dataset that has splits.
        track: Progress tracker that wraps the iteration over clips.
        overwrite: Replace a baseline that `out` holds.

    Returns:
        Number of clips written, on all sides.

    Raises:
        UserError: If `out` is not empty, an argument is out of range, videos are too short, two groups are needed and
            there is one, or videos are unreadable (the message counts them and names the first).
    """
    if kind not in KINDS:
        known = ", ".join(KINDS)
        raise UserError(
            f"no baseline `{kind}`; known are {known}, and nearest, which needs prompts.",
            suggestion=nearest(kind, KINDS),
        )
    if kind == "shuffled" and protocol.frames < 2:
        raise UserError(
            f"shuffled: protocol {protocol.name} has clips of a single frame, which cannot be shuffled; use another "
            "protocol."
        )
    rng = np.random.default_rng((_STREAM, seed))
    with new_folder(out, _CONTENT if overwrite else None) as folder:
        sources = open_clips(source, split)
        made, drawn = _made(kind, protocol, seed), int(rng.integers(1 << 32))
        wanted = protocol.generated.clips if clips is None else clips
        if kind != "real":
            cuts = _plan(sources, protocol, drawn, wanted, protocol.fps or ())
            return _write(folder, kind, cuts, protocol, made, rng, track)
        mine, others = _halves(sources, source, rng)
        generated = _plan(mine, protocol, drawn, wanted, protocol.fps or ())
        rates = [cut.fps for cut in generated] if protocol.fps else []
        real = _plan(others, protocol, drawn, protocol.real.clips if protocol.real else None, rates)
        sides = {"generated": generated, "real": real}
        return sum(_write(folder / side, kind, own, protocol, made, rng, track) for side, own in sides.items())


def write_nearest(
    source: Path,
    protocol: Protocol,
    out: Path,
    prompts: Mapping[str, str],
    *,
    clips: int | None = None,
    seed: int = 0,
    split: Split = "train",
    weights: Path | None = None,
    features: Path | None = None,
    device: str = "cpu",
    track: Track = untracked,
    overwrite: bool = False,
) -> int:
    """Write the real clip that matches each prompt best, as a retrieval baseline.

    The match is the mean cosine similarity over frames of the protocol's text-image extractor. Captions and attributes
    of the source are not used.

    Args:
        source: Folder of real videos, see `evaluation.folders.open_clips`.
        protocol: Protocol that sets length, frame rate and size of clips, and the extractor.
        out: Folder that does not exist yet or is empty; it appears when all clips are written.
        prompts: Id of each clip to write → its prompt.
        clips: Number of candidate clips. None for one per video.
        seed: Random seed; the same seed gives the same bytes.
        split: Split of a dataset that has splits.
        weights: Folder of the weights that the extractor is loaded from; see `evaluation.weight_files.weights_folder`.
        features: Cache folder of features. None for no cache.
        device: Device of the extractor, for example ``cuda``.
        track: Progress tracker that wraps the iteration over clips.
        overwrite: Replace a baseline that `out` holds.

    Returns:
        Number of clips written.

    Raises:
        UserError: See `write_baseline`; also if the protocol has no extractor that embeds text.
    """
    name, rng = _text_extractor(protocol), np.random.default_rng((_STREAM, seed))
    with new_folder(out, _CONTENT if overwrite else None) as folder, ExitStack() as stack:
        kept = features or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        unread = [replace(one, prompt=None, attributes={}) for one in with_content(open_clips(source, split))]
        cuts = _plan(unread, protocol, int(rng.integers(1 << 32)), clips, protocol.fps or ())
        loaded = protocol.extractors[name].load(weights_folder(weights))
        wanted = [(cut, {name}) for cut in cuts]
        extraction = Extraction(wanted, prompts.values(), protocol, {name: loaded}, kept).to(device)
        extraction.run(track)
        best = _best(extraction.features(name, cuts), extraction.texts(name), cuts)
        asked = [
            replace(cut, id=own, source=replace(cut.source, prompt=text))
            for own, text in prompts.items()
            for cut in [best[text]]
        ]
        return _write(folder, "nearest", asked, protocol, _made("nearest", protocol, seed), rng, track)


@dataclass(frozen=True)
class WriteFloor(Task):
    """Write a trivial baseline for a study, in place of sampled clips.

    The clips are cut from the training split, since they are compared with the other split.

    Args:
        kind: ``static`` or ``shuffled``.
        source: Folder of shards.
        protocol: Name of the study's protocol.
        clips: Number of clips.
    """

    kind: Literal["static", "shuffled"]
    source: Path
    protocol: str
    clips: PositiveInt

    def planned_clips(self) -> PlannedClips:
        """Return number, length and frame rates of the clips, which are those of the protocol."""
        protocol = load_protocol(self.protocol)
        return PlannedClips(
            self.clips,
            1 + (protocol.frames - 1) * (protocol.stride or 1),
            protocol.fps or (1.0,),
            setting="task.clips",
        )

    def run(self, place: Path, *, seed: int | None, track: Track) -> None:
        """Write ``place/clips``; does nothing if it is complete already.

        Raises:
            UserError: See `write_baseline`.
        """
        if not (place / "clips").exists():  # appears only when it is complete
            protocol = load_protocol(self.protocol)
            source = Path(self.source)
            write_baseline(self.kind, source, protocol, place / "clips", clips=self.clips, seed=seed or 0, track=track)


def _plan(
    sources: Sequence[VideoSource], protocol: Protocol, seed: int, clips: int | None, rates: Sequence[float]
) -> list[Cut]:
    """Cut clips as the protocol cuts real ones, with another seed, and number them."""
    check_argument("clips", clips, PositiveInt | None)
    stride = protocol.stride or 1
    frames, every = (protocol.frames - 1) * stride + 1, None if protocol.stride is None else 1
    start = protocol.real.start if protocol.real else "random"
    real = RealClips(
        len(sources) if clips is None else clips, start, "train", "shuffled", repeat=True, fewer=False
    )  # the split was taken where the folder was opened
    cuts = plan_real(sources, replace(protocol, frames=frames, stride=every, seed=seed), real, rates)
    return [replace(cut, id=name) for name, cut in zip(_names(len(cuts)), cuts, strict=True)]


def _halves(
    sources: Sequence[VideoSource], folder: Path, rng: np.random.Generator
) -> tuple[list[VideoSource], list[VideoSource]]:
    groups = sorted({source.group for source in sources})
    if len(groups) < 2:
        raise UserError(
            f"{folder}: real against real needs videos of 2 groups, but all {len(sources)} are of group "
            f"`{groups[0]}`; add videos of other origin."
        )
    mine = {groups[index] for index in rng.permutation(len(groups))[: len(groups) // 2]}
    return [one for one in sources if one.group in mine], [one for one in sources if one.group not in mine]


def _text_extractor(protocol: Protocol) -> str:
    """Return the name of the protocol's extractor that embeds frames and texts."""
    for name, settings in protocol.extractors.items():
        if issubclass(settings.network, TextExtractor):
            return name
    known = known_kinds("evaluation.extractors", ExtractorSettings)
    able = [kind for kind, own in known.items() if issubclass(own.network, TextExtractor)]
    raise UserError(
        f"nearest: protocol {protocol.name} has no extractor that embeds texts; use one with an extractor of kind "
        f"{' or '.join(able)}."
    )


def _best(features: Tensor, texts: Mapping[str, Tensor], cuts: Sequence[Cut]) -> dict[str, Cut]:
    """Return for each prompt the clip of the highest mean cosine similarity over frames."""
    clips = F.normalize(features.double(), dim=-1).mean(dim=1)
    return {text: cuts[int((clips @ row.double()).argmax())] for text, row in texts.items()}


def _write(
    folder: Path,
    kind: str,
    cuts: Sequence[Cut],
    protocol: Protocol,
    made: Mapping[str, str | int],
    rng: np.random.Generator,
    track: Track,
) -> int:
    """Write clips and manifest; return the number of clips."""
    folder.mkdir(exist_ok=True)
    records, failures = list[ClipRecord](), Failures()
    tracked = track(cuts, len(cuts), "clips")
    for name, cut in zip(_names(len(cuts)), tracked, strict=True):  # ids of prompts may be invalid file names
        try:
            pixels = read_cut(cut, protocol.resize).pixels
        except UserError as error:
            failures.add(cut.source.id, str(error))
            continue
        file, source = f"{name}.mkv", cut.source
        write_lossless(folder / file, _changed(kind, pixels, rng), cut.fps)
        records.append(ClipRecord(cut.id, file, cut.fps, source.prompt, dict(source.attributes), source=source.id))
    failures.raise_any(len({cut.source.id for cut in cuts}), "videos", "Fix or remove them.")
    write_manifest(folder, records, made)
    return len(records)


def _names(count: int) -> list[str]:
    return [f"{number:0{len(str(count - 1))}}" for number in range(count)]


def _changed(kind: str, pixels: Frames, rng: np.random.Generator) -> Frames:
    if kind == "static":
        return np.repeat(pixels[:1], len(pixels), axis=0)
    return pixels[_order(len(pixels), rng)] if kind == "shuffled" else pixels


def _order(frames: int, rng: np.random.Generator) -> list[int]:
    """Draw a permutation of two or more frames other than the identity."""
    order = rng.permutation(frames).tolist()
    return order if order != sorted(order) else _order(frames, rng)


def _made(kind: str, protocol: Protocol, seed: int) -> dict[str, str | int]:
    return {"baseline": kind, "protocol": protocol.name, "protocol_hash": protocol.hash, "seed": seed}
