"""Progress is counted in sampler steps, and every one of them is taken; which frames of a clip were given."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from doll_cascade import pictures
from numpy.typing import NDArray

from mav_lightning.cascade.clip_requests import (
    AnimateRequest,
    ClipRequest,
    ExtrapolateRequest,
    FramesRequest,
    InterpolateRequest,
    MorphRequest,
    PrecedeRequest,
    SuperResolveRequest,
    TextRequest,
    VariationRequest,
)
from mav_lightning.cascade.network_calls import Until
from mav_lightning.cascade.step_count import denoising_steps, frame_count, given_frames
from mav_lightning.cascade.video_pipeline import Pipeline
from mav_lightning.prompts import Prompt

With = Callable[..., Pipeline]


@pytest.fixture(scope="module")
def pipeline_with(cascade_folder: Path) -> With:
    """Makes a pipeline with other settings of networks that are loaded once."""
    loaded = Pipeline.from_pretrained(cascade_folder)
    return lambda **settings: Pipeline(loaded.cascade, replace(loaded.sampling, **settings))


def text(seed: int = 0, loop: bool = False) -> ClipRequest:
    return TextRequest(prompt=Prompt("a red circle"), fps=8.0, seed=seed, loop=loop)


def given(kind: type, frames: int, loop: bool = False) -> ClipRequest:
    request: ClipRequest = kind(frames=pictures(1, frames)[0], fps=8.0, seed=0, loop=loop)
    return request


@pytest.mark.parametrize("sampler", ["dpm++2m", "heun", "ddpm"])
@pytest.mark.parametrize(
    ("requests", "until"),
    [
        ([text()], "sr_high"),
        ([text(0), text(1)], "sr_high"),
        ([text()], "decoder"),
        ([text()], "interpolator"),
        ([text(loop=True)], "sr_low"),
        ([given(VariationRequest, 4)], "sr_high"),
        ([given(AnimateRequest, 1)], "sr_high"),
        ([given(AnimateRequest, 1, loop=True)], "sr_high"),
        ([given(MorphRequest, 2)], "sr_low"),
        ([given(ExtrapolateRequest, 1)], "sr_high"),
        ([given(ExtrapolateRequest, 6)], "sr_high"),
        ([given(InterpolateRequest, 5)], "interpolator"),
        ([given(SuperResolveRequest, 7)], "sr_high"),
    ],
)
def test_as_many_steps_are_taken_as_are_counted(
    requests: list[ClipRequest], until: Until, sampler: str, pipeline_with: With, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mav_lightning.cascade.sampling_chain.LOOP_ATTEMPTS", 1)
    pipeline, taken = pipeline_with(sampler=sampler), list[None]()
    (clips,) = pipeline.generate(requests, until, on_step=lambda: taken.append(None))
    assert len(taken) == denoising_steps(requests, pipeline.sampling, until)
    assert clips.shape[1] == frame_count(requests[0], pipeline.sampling, until)


@pytest.mark.parametrize(
    ("requests", "steps"),
    [
        ([text(seed) for seed in range(3)], 3 + 2 * 3 + 3 + 3 * 3),  # 9 frames in chunks of 4
        ([text(seed, loop=True) for seed in range(3)], 3 + 2 * 3 + 3 * (3 + 3 + 3 * 3)),
        ([given(MorphRequest, 2)] * 3, 2 * 3 + 3 + 2 * 3),  # 5 frames
        ([given(SuperResolveRequest, 7)] * 3, 3 + 2 * 3),
    ],
    ids=["text", "loop", "morph", "super-resolution"],
)
def test_steps_are_counted_by_the_batches_of_each_network(
    requests: list[ClipRequest], steps: int, pipeline_with: With, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mav_lightning.cascade.sampling_chain.LOOP_ATTEMPTS", 1)
    batches, taken = {"batch_size": 4, "interpolator_batch": 2, "sr_batch": 4}, list[None]()
    pipeline = pipeline_with(**batches)
    list(pipeline.generate(requests, on_step=lambda: taken.append(None)))
    assert len(taken) == denoising_steps(requests, pipeline.sampling) == steps


def test_every_network_is_sampled_as_its_own_settings_ask(pipeline_with: With) -> None:
    def clip(**settings: object) -> NDArray[np.uint8]:
        pipeline, taken = pipeline_with(**settings), list[None]()
        (found,) = pipeline.generate([text()], on_step=lambda: taken.append(None))
        assert len(taken) == denoising_steps([text()], pipeline.sampling)
        return found

    later = {"interpolator_sampler": "heun", "interpolator_steps": 2, "sr_sampler": "heun", "sr_steps": 2}
    np.testing.assert_array_equal(clip(sampler="heun", steps=2), clip(sampler="heun", steps=2, **later))
    own = clip(sampler="ddpm", steps=5, **later)
    shape = {"until": "decoder", "on_step": lambda: None}
    (alone,) = pipeline_with(sampler="ddpm", steps=5).generate([text()], **shape)
    (beside,) = pipeline_with(sampler="ddpm", steps=5, **later).generate([text()], **shape)
    np.testing.assert_array_equal(alone, beside)
    assert not np.array_equal(own, clip(sampler="ddpm", steps=5))


@pytest.mark.parametrize(
    ("request_", "numbers"),
    [
        (text(), []),
        (given(VariationRequest, 4), []),
        (given(AnimateRequest, 1), [0]),
        (given(AnimateRequest, 1, loop=True), [0]),
        (given(MorphRequest, 2), [0, 4]),
        (given(ExtrapolateRequest, 1), [0]),
        (given(ExtrapolateRequest, 6), [0, 1, 2, 3, 4, 5]),
        (given(PrecedeRequest, 1), [4]),
        (given(PrecedeRequest, 6), [3, 4, 5, 6, 7, 8]),
        (given(PrecedeRequest, 6, loop=True), [3, 4, 5, 6, 7, 8]),
        (given(InterpolateRequest, 5), [0, 2, 4, 6, 8]),
        (given(SuperResolveRequest, 3), [0, 1, 2]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ClipRequest) else "",
)
def test_given_frames_are_those_that_no_network_samples(
    request_: ClipRequest, numbers: list[int], pipeline_with: With
) -> None:
    pipeline = pipeline_with()
    assert given_frames(request_, pipeline.sampling) == numbers
    if numbers and isinstance(request_, FramesRequest):
        (clip,) = next(iter(pipeline.generate([request_], "interpolator")))
        unchanged = [number for number, frame in enumerate(clip) if (frame == request_.frames).all((1, 2, 3)).any()]
        assert unchanged == numbers
        assert np.array_equal(clip[numbers], request_.frames)
