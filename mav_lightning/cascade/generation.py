"""A folder of clips in the making: drawn in batches, written whole, continued after a kill."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mav_lightning.cascade.files import FORMATS, read_facts, write_clip
from mav_lightning.cascade.mark import draw_mark, provenance
from mav_lightning.cascade.pipeline import Clips, Pipeline
from mav_lightning.cascade.sign import SIGNED_FORMATS, Signing
from mav_lightning.common.errors import UserError
from mav_lightning.common.manifest import ClipRecord, manifest_sha256, write_manifest
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
        UserError: An unknown form, no wish, or a text or frame rate that the pipeline refuses.
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
        pipeline.check_fps([wish.fps for wish in wishes], "decoder" if decoded else "interpolator")
        if given is None:
            pipeline.check_prompts([_text(wish) for wish in wishes])
        faster = pipeline.rate if decoded else 1
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
        self.made = {"loop": loop, "mark": mark, "signed": signing is not None, **asdict(pipeline.sampling)}
        if given:
            self.made |= {"use": given.use, "given_sha256": hashlib.sha256(given.frames.tobytes()).hexdigest()}
        self._hash = manifest_sha256(self.records, self.made)

    def batches(self, rank: int = 0, processes: int = 1) -> list[list[int]]:
        """The numbers of the clips still missing that are this process's to draw, batch by batch.

        The share of a process does not depend on what is missing, so no two ever draw one clip.
        """
        missing = [number for number in range(rank, len(self.records), processes) if not self._written(number)]
        size = self.pipeline.sampling.batch_size
        return [missing[start : start + size] for start in range(0, len(missing), size)]

    def write(self, numbers: Sequence[int]) -> None:
        """Draws and writes the clips of these numbers."""
        clips = self._draw([self.wishes[number] for number in numbers], [self.records[n].fps for n in numbers])
        self.out.mkdir(parents=True, exist_ok=True)
        for number, clip in zip(numbers, draw_mark(clips) if self.mark else clips, strict=True):
            record = self.records[number]
            write_clip(self.out / record.file, clip, record.fps, provenance(self._hash), self._finish)

    def finish(self) -> None:
        """Writes the manifest; to be called when every clip is there."""
        write_manifest(self.out, self.records, self.made)

    def _written(self, number: int) -> bool:
        file = self.out / self.records[number].file
        return file.exists() and read_facts(file).get("manifest_sha256") == self._hash

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
