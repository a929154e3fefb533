"""A folder of clips in the making: drawn in batches, written whole, continued after a kill."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mav_lightning.cascade.clip_files import FORMATS, read_facts, write_clip
from mav_lightning.cascade.mark import draw_mark, provenance
from mav_lightning.cascade.pipeline import Clips, Pipeline
from mav_lightning.cascade.sign import SIGNED_FORMATS, Signing
from mav_lightning.common.errors import UserError
from mav_lightning.common.manifest import MANIFEST, ClipRecord, manifest_sha256, write_manifest
from mav_lightning.diffusion.noise import MOST_SEEDS
from mav_lightning.prompts import Prompt

__all__ = ["USES", "Given", "Generation", "Wish"]

# What a clip is made from, other than text: the pipeline's method, and whether the decoder draws it, so that
# interpolation raises its frame rate.
USES: dict[str, tuple[Callable[..., Clips], bool]] = {
    "animate": (Pipeline.animate, False),
    "interpolate": (Pipeline.morph, False),
    "extrapolate": (Pipeline.extrapolate, False),
    "variation": (Pipeline.variation, True),
}


@dataclass(frozen=True)
class Wish:
    """One clip asked for.

    Attributes:
        fps: Frames per second to animate for.
        seed: Of everything random in it.
        prompt: What it shows; None where it is made from pictures.
    """

    fps: float
    seed: int
    prompt: Prompt | None = None


@dataclass(frozen=True)
class Given:
    """Pictures that clips are made from.

    Attributes:
        use: One of `USES`.
        frames: Shape (N, size, size, 3), uint8.
        source: Where they come from, for the manifest.
    """

    use: str
    frames: Clips
    source: str


class Generation:
    """Draws the clips that are wished for into a folder.

    Every file appears whole, and says in its metadata which manifest it belongs to. So a second run of the same wishes
    draws only what is missing, and a clip of other wishes is never taken for one of these.

    Args:
        pipeline: Draws the clips.
        wishes: One for each.
        out: The folder, made when the first clip is written.
        given: Pictures that all of them are made from; None for text.
        loop: Whether every clip is led back to its beginning.
        form: One of `FORMATS`.
        mark: Whether the clips get the visible mark. What is to be measured goes without.
        signing: Signs every file; None for files that only say where they come from.

    Attributes:
        records: What the manifest says of each clip.

    Raises:
        UserError: An unknown form, a seed out of range, a text, frame rate or loop that the pipeline refuses, or a
            folder with somebody else's files under the names of these clips.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        wishes: Sequence[Wish],
        out: Path,
        *,
        given: Given | None = None,
        loop: bool = False,
        form: str = "mkv",
        mark: bool = True,
        signing: Signing | None = None,
    ) -> None:
        if form not in FORMATS:
            raise UserError(f"--format: must be one of {', '.join(FORMATS)}, got `{form}`.")
        self.pipeline, self.wishes, self.out = pipeline, list(wishes), out
        if signing and form not in SIGNED_FORMATS:
            raise UserError(f"--format: {form} cannot be signed; choose one of {', '.join(SIGNED_FORMATS)}.")
        self.given, self.loop, self.mark, self.signing = given, loop, mark, signing
        decoded = given is None or USES[given.use][1]
        faster = pipeline.rate if decoded else 1
        self._check(decoded, faster)
        self.records = [
            ClipRecord(
                id=f"{number:05d}",
                file=f"{number:05d}{FORMATS[form][0]}",
                fps=wish.fps * faster,
                prompt=wish.prompt.text if wish.prompt else None,
                attributes=wish.prompt.attributes if wish.prompt else {},
                seed=wish.seed,
                checkpoints=pipeline.checkpoints,
                source=given.source if given else None,
            )
            for number, wish in enumerate(self.wishes)
        ]
        signer = signing.fingerprint if signing else None
        self.made = {"loop": loop, "mark": mark, "signer": signer, **asdict(pipeline.sampling)}
        if given:
            self.made |= {"use": given.use, "given_sha256": hashlib.sha256(given.frames.tobytes()).hexdigest()}
        self._hash = manifest_sha256(self.records, self.made)
        for record in self.records:
            if self._facts(record) == {}:
                raise UserError(f"{out / record.file}: is there already and not ours; give --out another folder.")

    def batches(self, rank: int = 0, processes: int = 1) -> list[list[int]]:
        """The numbers of the clips still missing that are this process's to draw, batch by batch.

        The share of a process does not depend on what is missing, so no two ever draw one clip.
        """
        share = range(rank, len(self.records), processes)
        missing = [n for n in share if (self._facts(self.records[n]) or {}).get("manifest_sha256") != self._hash]
        size = self.pipeline.sampling.batch_size
        return [missing[start : start + size] for start in range(0, len(missing), size)]

    def write(self, numbers: Sequence[int]) -> None:
        """Draws and writes the clips of these numbers."""
        clips = self._draw([self.wishes[number] for number in numbers], [self.records[n].fps for n in numbers])
        self.out.mkdir(parents=True, exist_ok=True)
        manifest = self.out / MANIFEST
        if manifest.is_file() and hashlib.sha256(manifest.read_bytes()).hexdigest() != self._hash:
            manifest.unlink()  # it speaks of clips that are about to be replaced
        for number, clip in zip(numbers, draw_mark(clips) if self.mark else clips, strict=True):
            record = self.records[number]
            write_clip(self.out / record.file, clip, record.fps, provenance(self._hash), self._finish)

    def finish(self) -> None:
        """Writes the manifest; to be called when every clip is there."""
        write_manifest(self.out, self.records, self.made)

    def _check(self, decoded: bool, faster: int) -> None:
        """Refuses what cannot be drawn before anything is."""
        fps = [wish.fps for wish in self.wishes]
        self.pipeline.check_fps(fps, "decoder" if decoded else "interpolator")
        if self.given is None:
            self.pipeline.check_prompts([_text(wish) for wish in self.wishes])
        if self.loop:
            self.pipeline.stages.network("interpolator", "loop")
            self.pipeline.check_fps([rate * faster for rate in fps], "interpolator")
        for seed in (wish.seed for wish in self.wishes):
            if not 0 <= seed < MOST_SEEDS:
                raise UserError(f"--seed: must be from 0 to 2⁴⁸ - 1, got {seed}.")

    def _facts(self, record: ClipRecord) -> dict[str, Any] | None:
        """What the record's file says of itself; None where there is none."""
        file = self.out / record.file
        return read_facts(file) if file.exists() else None

    def _finish(self, file: Path) -> None:
        if self.signing:
            self.signing(file, self._hash)

    def _draw(self, wishes: Sequence[Wish], rates: Sequence[float]) -> Clips:
        fps, seeds = [wish.fps for wish in wishes], [wish.seed for wish in wishes]
        if self.given is None:
            clips = self.pipeline([_text(wish) for wish in wishes], fps, seeds, until="interpolator")
        else:
            draw, drawn = USES[self.given.use]
            frames = np.stack([self.given.frames] * len(wishes))
            options = {"until": "interpolator"} if drawn else {}
            clips = draw(self.pipeline, frames, fps, seeds, **options)
        if self.loop:
            clips = self.pipeline.loop(clips, rates, seeds)
        return self.pipeline.sharpen(clips, rates, seeds)


def _text(wish: Wish) -> str:
    return wish.prompt.text if wish.prompt else ""
