"""The clips that a study scores."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from mav_lightning.cascade.generation import Generation, Wish
from mav_lightning.cascade.pipeline import Pipeline
from mav_lightning.cascade.pipeline_folder import write_pipeline
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.common.errors import UserError
from mav_lightning.common.hashing import file_sha256
from mav_lightning.common.machine import default_device
from mav_lightning.prompts import Prompt, read_prompts, shapes_prompts

__all__ = ["sample_prompts", "sample_shapes"]


def sample_shapes(
    clip: Path,
    prior: Path,
    decoder: Path,
    sampling: Sampling,
    out: Path,
    fps: Sequence[float],
    per_pair: int,
    seed: int,
    track: Callable[..., Iterable[list[int]]],
    interpolator: Path | None = None,
    sr_low: Path | None = None,
    sr_high: Path | None = None,
) -> None:
    """Samples a study's clips: every pair of colour and shape of Shapes World at every frame rate.

    Writes ``out/pipeline``, which `mav generate` takes, and ``out/clips``, lossless and unmarked. Two systems sampled
    with one seed start each clip from the same noise.

    Args:
        clip: Folder of the trained CLIP.
        prior: Folder of the trained prior.
        decoder: Folder of the trained decoder.
        sampling: How clips are drawn.
        out: The stage's folder.
        fps: Frame rates that the decoder is asked for.
        per_pair: Clips of every pair at every frame rate.
        seed: Of the study's trial.
        track: Wraps an iterable with a progress report, ``track(items, total, description)``.
        interpolator: Folder of the trained interpolator; None where `sampling` fills no frames with it.
        sr_low: Folder of spatiotemporal super-resolution; None where `sampling` leaves it out.
        sr_high: Folder of spatial super-resolution; None where `sampling` leaves it out.
    """
    networks = {
        "clip": clip, "prior": prior, "decoder": decoder, "interpolator": interpolator, "sr_low": sr_low,
        "sr_high": sr_high,
    }  # fmt: skip
    given = {role: folder for role, folder in networks.items() if folder}
    _sample(given, sampling, out, fps, shapes_prompts(per_pair), seed, track)


def sample_prompts(
    networks: Mapping[str, Path],
    sampling: Sampling,
    out: Path,
    fps: Sequence[float],
    prompts: str | Path,
    prompts_sha256: str,
    per_prompt: int,
    seed: int,
    track: Callable[..., Iterable[list[int]]],
) -> None:
    """As `sample_shapes`, of a user's own prompts.

    Args:
        networks: Role → folder, as `mav_lightning.cascade.pipeline_folder.write_pipeline` takes them.
        sampling: How clips are drawn.
        out: The stage's folder.
        fps: Frame rates that the decoder is asked for.
        prompts: A file that `mav_lightning.prompts.read_prompts` reads.
        prompts_sha256: Of its bytes when the study was planned.
        per_prompt: Clips of every prompt at every frame rate.
        seed: Of the study's trial.
        track: Wraps an iterable with a progress report, ``track(items, total, description)``.

    Raises:
        UserError: No prompts there, or others than were planned with.
    """
    if (found := file_sha256(Path(prompts))) != prompts_sha256:
        raise UserError(
            f"{prompts}: has changed since the study was planned ({found[:12]}, not {prompts_sha256[:12]}); give the "
            "command again, and the clips are drawn anew."
        )
    _sample(
        {role: Path(folder) for role, folder in networks.items()},
        sampling,
        out,
        fps,
        read_prompts(Path(prompts)) * per_prompt,
        seed,
        track,
    )


def _sample(
    networks: Mapping[str, Path],
    sampling: Sampling,
    out: Path,
    fps: Sequence[float],
    prompts: Sequence[Prompt],
    seed: int,
    track: Callable[..., Iterable[list[int]]],
) -> None:
    write_pipeline(out / "pipeline", sampling, networks)
    asked = [(prompt, float(rate)) for rate in fps for prompt in prompts]
    wishes = [Wish(rate, seed * 1_000_000 + number, prompt) for number, (prompt, rate) in enumerate(asked)]
    pipeline = Pipeline.from_pretrained(out / "pipeline")
    pipeline.to(default_device())
    generation = Generation(pipeline, wishes, out / "clips", mark=False)
    missing = generation.batches()
    for numbers in track(missing, len(missing), "batches"):
        generation.write(numbers)
    generation.finish()
