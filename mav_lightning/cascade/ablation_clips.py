"""Tasks that sample the clips which an ablation scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mav_lightning.cascade.clip_requests import TextRequest, check_clip_count
from mav_lightning.cascade.generation import Generation
from mav_lightning.cascade.pipeline_folder import NetworkFolders, write_pipeline
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.cascade.video_pipeline import Pipeline
from mav_lightning.common.errors import UserError
from mav_lightning.common.hashing import file_sha256
from mav_lightning.common.machine import default_device
from mav_lightning.common.planned_clips import PlannedClips
from mav_lightning.common.schema import PositiveFloat, PositiveInt
from mav_lightning.common.task import Task
from mav_lightning.common.tracking import Track
from mav_lightning.prompts import Prompt, read_prompts, shapes_prompts

__all__ = ["SamplePrompts", "SampleShapes"]


@dataclass(frozen=True)
class SampleShapes(Task):
    """Task that samples every color-shape pair of Shapes World at every frame rate.

    It writes a pipeline folder, ``pipeline``, and lossless clips without the visible mark, ``clips``. Two systems
    sampled with one seed start each clip from the same noise.

    Attributes:
        networks: Folders of the trained networks.
        sampling: Settings of the sampling chain.
        fps: Frame rates that the decoder is conditioned on, frames per second.
        per_pair: Clips per pair and frame rate.
    """

    networks: NetworkFolders
    sampling: Sampling
    fps: tuple[PositiveFloat, ...]
    per_pair: PositiveInt

    def planned_clips(self) -> PlannedClips:
        """Return number, length and frame rates of the clips, and that colors, shapes and prompts are known."""
        pairs = len(shapes_prompts())
        facts = frozenset({"prompt", *shapes_prompts()[0].attributes})
        return _planned(self.sampling, self.fps, (pairs, "color-shape pairs"), (self.per_pair, "per_pair"), facts)

    def run(self, place: Path, *, seed: int | None, track: Track) -> None:
        """Sample the clips; an interrupted run is resumed."""
        check_clip_count(len(shapes_prompts()) * self.per_pair * len(self.fps))
        _sample(self.networks, self.sampling, place, self.fps, shapes_prompts(self.per_pair), seed, track)


@dataclass(frozen=True)
class SamplePrompts(Task):
    """Task that samples the prompts of a file at every frame rate, as `SampleShapes` does its pairs.

    Attributes:
        networks: Folders of the trained networks.
        sampling: Settings of the sampling chain.
        fps: Frame rates that the decoder is conditioned on, frames per second.
        prompts: File that `mav_lightning.prompts.read_prompts` reads.
        prompts_sha256: sha256 of the file when the study was planned.
        per_prompt: Clips per prompt and frame rate.
    """

    networks: NetworkFolders
    sampling: Sampling
    fps: tuple[PositiveFloat, ...]
    prompts: Path
    prompts_sha256: str
    per_prompt: PositiveInt

    def planned_clips(self) -> PlannedClips:
        """Return number, length and frame rates of the clips, and what is known of them: their prompts.

        Raises:
            UserError: If the file has no prompts.
        """
        prompts = read_prompts(self.prompts)
        facts = frozenset.intersection(*(frozenset(prompt.attributes) for prompt in prompts)) | {"prompt"}
        return _planned(self.sampling, self.fps, (len(prompts), "prompts"), (self.per_prompt, "per_prompt"), facts)

    def run(self, place: Path, *, seed: int | None, track: Track) -> None:
        """Sample the clips; an interrupted run is resumed.

        Raises:
            UserError: If the file has no prompts, or has changed since the study was planned.
        """
        if (found := file_sha256(self.prompts)) != self.prompts_sha256:
            raise UserError(
                f"{self.prompts}: has changed since the study was planned ({found[:12]}, not "
                f"{self.prompts_sha256[:12]}); run the command again to sample new clips."
            )
        prompts = read_prompts(self.prompts)
        check_clip_count(len(prompts) * self.per_prompt * len(self.fps))
        _sample(self.networks, self.sampling, place, self.fps, prompts * self.per_prompt, seed, track)


def _planned(
    sampling: Sampling,
    fps: Sequence[float],
    inputs: tuple[int, str],
    repeated: tuple[int, str],
    facts: frozenset[str],
) -> PlannedClips:
    (count, what), (times, setting) = inputs, repeated
    return PlannedClips(
        count * times * len(fps),
        sampling.output_frames,
        tuple(rate * sampling.skip for rate in fps),
        facts,
        f"{count} {what} × {setting} {times} × {len(fps)} frame rate{'s' if len(fps) > 1 else ''}",
        f"task.{setting}",
        count * len(fps),
    )


def _sample(
    networks: NetworkFolders,
    sampling: Sampling,
    place: Path,
    fps: Sequence[float],
    prompts: Sequence[Prompt],
    seed: int | None,
    track: Track,
) -> None:
    if seed is None:
        raise UserError("sampling needs a seed; add `seed` to the stage.", argument="seed")
    write_pipeline(place / "pipeline", sampling, networks)
    pairs = [(prompt, float(rate)) for rate in fps for prompt in prompts]
    requests = [
        TextRequest(prompt=prompt, fps=rate, seed=seed * 1_000_000 + number)
        for number, (prompt, rate) in enumerate(pairs)
    ]
    pipeline = Pipeline.from_pretrained(place / "pipeline").to(default_device())
    generation = Generation(pipeline, requests, place / "clips", mark=False)
    generation.start()
    generation.run(track)
    generation.finish()
