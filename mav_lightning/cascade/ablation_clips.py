"""Tasks that sample the clips which an ablation scores."""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mav_lightning.cascade.clip_requests import TextRequest, check_clip_count
from mav_lightning.cascade.generation import Generation
from mav_lightning.cascade.pipeline_folder import NetworkFolders, write_pipeline
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.cascade.video_pipeline import Pipeline
from mav_lightning.common.counting import counted
from mav_lightning.common.errors import UserError
from mav_lightning.common.hashing import file_sha256
from mav_lightning.common.machine import default_device
from mav_lightning.common.planned_clips import PlannedClips
from mav_lightning.common.schema import PositiveFloat, PositiveInt
from mav_lightning.common.task import Task
from mav_lightning.common.tracking import Track
from mav_lightning.prompts import Prompt, read_prompts, shapes_prompts

__all__ = ["SampleClips", "SamplePrompts", "SampleShapes"]


@dataclass(frozen=True)
class SampleClips(Task):
    """Base of tasks that sample prompts at every frame rate, the same ones for every variant of a study.

    It writes a pipeline folder, ``pipeline``, and lossless clips without the visible mark, ``clips``. Two systems
    sampled with one seed start each clip from the same noise.

    Attributes:
        networks: Folders of the trained networks.
        sampling: Settings of the sampling chain.
        fps: Frame rates that the decoder is conditioned on, frames per second.
        repeats: Name of the field that holds the number of clips per input and frame rate.
        inputs: What an input is, in the plural, for messages.
    """

    repeats: ClassVar[str]
    inputs: ClassVar[str]

    networks: NetworkFolders
    sampling: Sampling
    fps: tuple[PositiveFloat, ...]

    @abstractmethod
    def prompts_of(self, repeats: int) -> list[Prompt]:
        """Return the prompts of every input, in the order in which they are sampled.

        Args:
            repeats: Prompts per input.
        """

    def planned_clips(self) -> PlannedClips:
        """Return number, length and frame rates of the clips, and what is known of every clip, such as its prompt."""
        prompts, times, rates = self.prompts_of(1), getattr(self, self.repeats), len(self.fps)
        return PlannedClips(
            len(prompts) * times * rates,
            self.sampling.output_frames,
            tuple(rate * self.sampling.skip for rate in self.fps),
            frozenset.intersection(*(frozenset(prompt.attributes) for prompt in prompts)) | {"prompt"},
            f"{len(prompts)} {self.inputs} × {self.repeats} {times} × {counted(rates, 'frame rate')}",
            f"task.{self.repeats}",
            len(prompts) * rates,
        )

    def run(self, place: Path, *, seed: int | None, track: Track) -> None:
        """Sample the clips; an interrupted run is resumed.

        Raises:
            UserError: If there is no seed, or one folder would hold more than 100,000 clips.
        """
        check_clip_count(self.planned_clips().count)
        if seed is None:
            raise UserError("sampling needs a seed; add `seed` to the stage.", argument="seed")
        write_pipeline(place / "pipeline", self.sampling, self.networks)
        pairs = [(prompt, float(rate)) for rate in self.fps for prompt in self.prompts_of(getattr(self, self.repeats))]
        requests = [
            TextRequest(prompt=prompt, fps=rate, seed=seed * 1_000_000 + number)
            for number, (prompt, rate) in enumerate(pairs)
        ]
        pipeline = Pipeline.from_pretrained(place / "pipeline").to(default_device())
        generation = Generation(pipeline, requests, place / "clips", mark=False)
        generation.start()
        generation.run(track)
        generation.finish()


@dataclass(frozen=True)
class SampleShapes(SampleClips):
    """Task that samples every color-shape pair of Shapes World at every frame rate.

    Attributes:
        per_pair: Clips per pair and frame rate.
    """

    repeats, inputs = "per_pair", "color-shape pairs"

    per_pair: PositiveInt

    def prompts_of(self, repeats: int) -> list[Prompt]:
        """Return prompts for every pair; see `shapes_prompts`."""
        return shapes_prompts(repeats)


@dataclass(frozen=True)
class SamplePrompts(SampleClips):
    """Task that samples the prompts of a file at every frame rate.

    Attributes:
        prompts: File that `mav_lightning.prompts.read_prompts` reads.
        prompts_sha256: sha256 of the file when the study was planned.
        per_prompt: Clips per prompt and frame rate.
    """

    repeats, inputs = "per_prompt", "prompts"

    prompts: Path
    prompts_sha256: str
    per_prompt: PositiveInt

    def prompts_of(self, repeats: int) -> list[Prompt]:
        """Return the prompts of the file, `repeats` times.

        Raises:
            UserError: If the file has no prompts.
        """
        return read_prompts(self.prompts) * repeats

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
        super().run(place, seed=seed, track=track)
