"""Text to clips: the trained networks in a row.

``text → CLIP → prior → image embedding → decoder → frames``. A pipeline is a folder of networks and one
``pipeline.json``; it needs nothing else of the runs that trained them.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mav_lightning.checkpoint import copy_network, load_network, network_id
from mav_lightning.common.errors import UserError
from mav_lightning.common.manifest import ClipRecord, write_manifest
from mav_lightning.common.video import write_lossless
from mav_lightning.diffusion.guidance import Guided
from mav_lightning.diffusion.noise import SeededNoise
from mav_lightning.diffusion.pixels import to_uint8
from mav_lightning.diffusion.samplers import SAMPLERS
from mav_lightning.diffusion.schedule import karras_sigmas
from mav_lightning.prompts import Prompt, shapes_prompts

__all__ = ["Pipeline", "Sampling", "sample_clips", "sample_shapes", "write_pipeline"]

CONFIG = "pipeline.json"
ROLES = ("clip", "prior", "decoder")


@dataclass(frozen=True)
class Sampling:
    """How clips are drawn.

    Attributes:
        size: Side of the frames, in pixels.
        frames: Frames in a clip.
        sampler: ``dpm++2m``, ``ddim``, ``heun`` or ``ddpm``, which adds noise on the way.
        steps: Of the sampler; each is one denoiser evaluation, with ``heun`` two.
        guidance_scale: 1 for none.
        sigma_max: Noise level to start from.
        batch_size: Clips computed together. Batches are always filled up to it, so that a clip's pixels are the same
            bits alone and in company.
    """

    size: int
    frames: int
    sampler: str = "dpm++2m"
    steps: int = 16
    guidance_scale: float = 1.0
    sigma_max: float = 80.0
    batch_size: int = 8

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise UserError(f"sampler `{self.sampler}`: unknown; known are {', '.join(SAMPLERS)}.")
        if self.steps < 2 or self.batch_size < 1:
            raise UserError(f"sampling needs steps ≥ 2 and batch_size ≥ 1, got {self.steps} and {self.batch_size}.")


class Pipeline:
    """Generates clips from text.

    Args:
        clip: Embeds texts and their words, ``encode_words(list of N strings) → (N, 1 + length, D)``.
        prior: Text to image embeddings, ``predict(captions, seeds) → (N, D)``.
        decoder: The denoiser of images or of clips. An image denoiser gives frames that know nothing of each other.
        sampling: How clips are drawn.
        checkpoints: Role → id of the network, for manifests.
    """

    def __init__(
        self,
        clip: nn.Module,
        prior: nn.Module,
        decoder: nn.Module,
        sampling: Sampling,
        checkpoints: Mapping[str, str] | None = None,
    ) -> None:
        self.clip, self.prior, self.decoder = clip.eval(), prior.eval(), decoder.eval()
        self.sampling, self.checkpoints = sampling, dict(checkpoints or {})

    @classmethod
    def from_pretrained(cls, folder: str | Path, **sampling: object) -> "Pipeline":
        """Loads a pipeline folder; keyword arguments replace fields of `Sampling`.

        Raises:
            UserError: Not a pipeline folder, or a network in it that does not load.
        """
        folder = Path(folder)
        if not (folder / CONFIG).is_file():
            raise UserError(
                f"{folder}: no pipeline here, `{CONFIG}` is missing; `mav demo` writes one, and "
                "`mav pipeline` makes one of trained stages."
            )
        stored = json.loads((folder / CONFIG).read_text())
        networks = {role: load_network(folder / role) for role in ROLES}
        settings = Sampling(**{**stored["sampling"], **sampling})
        return cls(**networks, sampling=settings, checkpoints=stored["checkpoints"])

    def __call__(self, prompts: Sequence[str], fps: Sequence[float], seeds: Sequence[int]) -> NDArray[np.uint8]:
        """Generates one clip for each prompt.

        Args:
            prompts: N texts.
            fps: N frame rates, frames per second, positive.
            seeds: N seeds; a clip depends on its own alone.

        Returns:
            Clips, shape (N, T, H, W, 3), uint8.
        """
        return np.concatenate(list(self.batches(prompts, fps, seeds)))

    @torch.inference_mode()
    def batches(
        self, prompts: Sequence[str], fps: Sequence[float], seeds: Sequence[int]
    ) -> Iterator[NDArray[np.uint8]]:
        """Generates batch by batch, as `__call__`: yields arrays of at most ``sampling.batch_size`` clips."""
        if not all(rate > 0 for rate in fps):
            raise UserError(f"fps must be above 0 frames per second, got {min(fps):g}; for example `--fps 8`.")
        if not prompts:
            raise UserError('no prompt given; for example `mav generate "a red circle on a dark background" …`.')
        size = self.sampling.batch_size
        for start in range(0, len(prompts), size):
            part = slice(start, start + size)
            count = len(prompts[part])
            fill = [count - 1] * (size - count)  # repeat the last clip: its copies are computed and dropped
            chosen = [*range(count), *fill]
            texts, rates, numbers = ([values[part][i] for i in chosen] for values in (prompts, fps, seeds))
            cond = self.prior.predict(self.clip.encode_words(texts), numbers)  # type: ignore[operator]
            yield to_uint8(self._decode(cond, torch.tensor(rates, dtype=torch.float32), numbers)[:count])

    def _decode(self, cond: Tensor, fps: Tensor, seeds: Sequence[int]) -> Tensor:
        s = self.sampling
        denoiser = Guided(self.decoder, s.guidance_scale)
        draw = SeededNoise(seeds, (3, s.frames, s.size, s.size))
        sigmas = karras_sigmas(s.steps, sigma_max=s.sigma_max)
        return SAMPLERS[s.sampler](lambda x, sigma: denoiser(x, sigma, cond, fps), draw, sigmas)


def write_pipeline(folder: Path, sampling: Sampling, networks: Mapping[str, Path], ids: Mapping[str, str]) -> None:
    """Copies the networks of trained stages into a pipeline folder; ``pipeline.json`` comes last."""
    for role in ROLES:
        copy_network(networks[role], folder / role)
    content = {"version": 1, "sampling": asdict(sampling), "checkpoints": dict(ids)}
    (folder / CONFIG).write_text(json.dumps(content, indent=1))


def sample_clips(
    pipeline: Pipeline, out: Path, prompts: Sequence[Prompt], fps: Sequence[float], seeds: Sequence[int]
) -> Iterator[int]:
    """Writes one lossless file for each prompt, then the manifest; yields the number of clips written so far.

    Args:
        pipeline: The networks.
        out: Folder, made if missing.
        prompts: N prompts.
        fps: N frame rates.
        seeds: N seeds.
    """
    out.mkdir(parents=True, exist_ok=True)
    records: list[ClipRecord] = []
    for clips in pipeline.batches([prompt.text for prompt in prompts], fps, seeds):
        for clip in clips:
            number = len(records)
            record = ClipRecord(
                id=f"{number:05d}",
                file=f"{number:05d}.mkv",
                fps=float(fps[number]),
                prompt=prompts[number].text,
                attributes=prompts[number].attributes,
                seed=seeds[number],
                checkpoints=pipeline.checkpoints,
            )
            write_lossless(out / record.file, clip, record.fps)
            records.append(record)
        yield len(records)
    write_manifest(out, records)


def sample_shapes(
    clip: Path,
    prior: Path,
    decoder: Path,
    sampling: Sampling,
    out: Path,
    fps: Sequence[float],
    per_pair: int,
    seed: int,
    track: Callable[..., Iterable[int]],
) -> None:
    """Samples a study's clips: every pair of colour and shape of Shapes World at every frame rate.

    Writes ``out/pipeline``, which `mav generate` takes, and ``out/clips``. Two systems sampled with one seed start
    each clip from the same noise.

    Args:
        clip: Folder of the trained CLIP.
        prior: Folder of the trained prior.
        decoder: Folder of the trained decoder.
        sampling: How clips are drawn.
        out: The stage's folder.
        fps: Frame rates.
        per_pair: Clips of every pair at every frame rate.
        seed: Of the study's trial.
        track: Wraps an iterable with a progress report, ``track(items, total, description)``.
    """
    folders = {"clip": Path(clip), "prior": Path(prior), "decoder": Path(decoder)}
    ids = {role: network_id(folder) for role, folder in folders.items()}
    write_pipeline(out / "pipeline", sampling, folders, ids)
    prompts = shapes_prompts(per_pair) * len(fps)
    rates = [float(rate) for rate in fps for _ in range(len(prompts) // len(fps))]
    seeds = [seed * 1_000_000 + number for number in range(len(prompts))]
    work = sample_clips(Pipeline.from_pretrained(out / "pipeline"), out / "clips", prompts, rates, seeds)
    for _ in track(work, -(-len(prompts) // sampling.batch_size), "batches"):
        pass
