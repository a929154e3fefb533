"""The clips that a study scores."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mav_lightning.cascade.generation import Generation, Wish
from mav_lightning.cascade.pipeline import Pipeline
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.cascade.store import write_pipeline
from mav_lightning.prompts import shapes_prompts

__all__ = ["sample_shapes"]


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
    write_pipeline(out / "pipeline", sampling, {role: folder for role, folder in networks.items() if folder})
    asked = [(prompt, float(rate)) for rate in fps for prompt in shapes_prompts(per_pair)]
    wishes = [Wish(rate, seed * 1_000_000 + number, prompt) for number, (prompt, rate) in enumerate(asked)]
    generation = Generation(Pipeline.from_pretrained(out / "pipeline"), wishes, out / "clips", mark=False)
    missing = generation.batches()
    for numbers in track(missing, len(missing), "batches"):
        generation.write(numbers)
    generation.finish()
