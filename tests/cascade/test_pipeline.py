import dataclasses
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from doll_cascade import NODES, pictures

from mav_lightning.cascade.clip_requests import TextRequest, VariationRequest
from mav_lightning.cascade.pipeline_folder import NetworkFolders, write_pipeline
from mav_lightning.cascade.sample_networks import super_resolve_frames
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.cascade.video_pipeline import Pipeline
from mav_lightning.common.errors import UserError
from mav_lightning.common.pixels import from_uint8, to_uint8
from mav_lightning.networks.card import Card, Trained, read_card, write_card
from mav_lightning.networks.stored import load_network
from mav_lightning.prompts import Prompt


@pytest.fixture(scope="module")
def cascade(cascade_folder: Path) -> Pipeline:
    return Pipeline.from_pretrained(cascade_folder)


def sr_high(pipeline: Pipeline, clips: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    member = pipeline.cascade.sr_high
    assert member is not None
    with torch.inference_mode():
        return super_resolve_frames(member.network, clips, torch.ones(2), [0, 1], sampling)


def test_a_clip_alone_is_the_same_bits_as_among_others(text_pipeline: Path) -> None:
    pipeline = Pipeline.from_pretrained(text_pipeline)
    prompts = [f"prompt {i}" for i in range(6)]
    together = pipeline(prompts, fps=[4.0, 8.0, 16.0, 4.0, 8.0, 16.0], seeds=range(6))
    alone = pipeline(prompts[4:5], fps=[8.0], seeds=[4])
    assert np.array_equal(together[4], alone[0])


def test_a_clip_is_the_same_bits_in_another_process(text_pipeline: Path, tmp_path: Path) -> None:
    program = (
        "import sys, numpy, torch; torch.set_num_threads(1)\n"
        "from mav_lightning.cascade.video_pipeline import Pipeline\n"
        "numpy.save(sys.argv[2], Pipeline.from_pretrained(sys.argv[1])(['a red circle'], [8.0], [5]))\n"
    )
    subprocess.run([sys.executable, "-c", program, str(text_pipeline), str(tmp_path / "clip.npy")], check=True)
    here = Pipeline.from_pretrained(text_pipeline)(["a red circle"], [8.0], [5])
    assert np.array_equal(here, np.load(tmp_path / "clip.npy"))


@pytest.mark.parametrize("other", [{"prompt": "a blue cross"}, {"fps": 16.0}, {"seed": 6}])
def test_prompt_fps_and_seed_each_change_the_clip(text_pipeline: Path, other: dict[str, Any]) -> None:
    given = {"prompt": "a red circle", "fps": 4.0, "seed": 5}
    clips = [
        Pipeline.from_pretrained(text_pipeline)([v["prompt"]], [v["fps"]], [v["seed"]])
        for v in (given, {**given, **other})
    ]
    assert not np.array_equal(*clips)


def test_settings_can_be_replaced_on_loading(text_pipeline: Path) -> None:
    assert Pipeline.from_pretrained(text_pipeline, steps=5).sampling.steps == 5


def test_finished_frames_are_reduced_on_request_and_earlier_ones_are_not(cascade_folder: Path) -> None:
    full = Pipeline.from_pretrained(cascade_folder)
    side = full.sampling.largest * 3 // 4
    small = Pipeline.from_pretrained(cascade_folder, output_size=side)
    reduced = small("a red circle")[0]
    frames = torch.from_numpy(full("a red circle")[0]).movedim(-1, 1).float()
    expected = torch.nn.functional.interpolate(frames, size=(side, side), mode="bicubic", antialias=True).clamp(0, 255)
    assert reduced.shape[1:3] == (side, side)
    assert np.abs(expected.movedim(1, -1).numpy() - reduced).max() <= 1.2  # the chain rounds once, at its end
    for until in ("decoder", "sr_low"):
        assert np.array_equal(full("a red circle", until=until), small("a red circle", until=until))


def test_interpolation_keeps_the_frames_the_decoder_drew(cascade: Pipeline) -> None:
    given = {"prompts": ["a red circle", "a blue cross", "x"], "fps": [4.0, 8.0, 4.0], "seeds": range(3)}
    keys, clips = cascade(**given, until="decoder"), cascade(**given, until="interpolator")
    assert keys.shape[1] == 5 and clips.shape[1] == 9 and cascade.rate == 2
    assert np.array_equal(clips[:, ::2], keys)
    assert np.array_equal(cascade(["x"], [4.0], [2], until="interpolator")[0], clips[2]), (
        "interpolation does not know its company"
    )


def test_guidance_is_the_decoders_alone(cascade_folder: Path) -> None:
    strong, none = (Pipeline.from_pretrained(cascade_folder, guidance_scale=scale) for scale in (8.0, 1.0))
    drawn = [pipeline(["a red circle"], [8.0], [0], until="decoder") for pipeline in (strong, none)]
    filled = [pipeline.interpolate(drawn[0], 16.0, until="interpolator") for pipeline in (strong, none)]
    assert not np.array_equal(*drawn)
    assert np.array_equal(*filled)


def test_every_use_keeps_what_it_was_given(cascade: Pipeline) -> None:
    fps, seeds = [8.0] * 3, range(3)
    image, pair, clip = pictures(3, 1), pictures(3, 2), pictures(3, 4)
    assert np.array_equal(cascade.animate(image, fps, seeds, until="interpolator")[:, :1], image)
    assert np.array_equal(cascade.morph(pair, fps, seeds, until="interpolator")[:, [0, -1]], pair)
    longer = cascade.extrapolate(clip, fps, seeds, until="interpolator")
    assert longer.shape[1] == 4 + 3 and np.array_equal(longer[:, :4], clip)
    closed = cascade.loop(clip, fps, seeds, until="interpolator")
    assert closed.shape[1] == 4 + 3 and np.array_equal(closed[:, :4], clip)
    assert cascade.variation(clip, fps, seeds, until="sr_low").shape == (3, 9, 16, 16, 3)


def test_the_whole_cascade_gives_large_clips_alone_as_in_company(cascade: Pipeline) -> None:
    clips = cascade(["a red circle", "a blue cross", "x"], [4.0, 8.0, 4.0], range(3))
    assert clips.shape == (3, 9, 32, 32, 3)
    assert np.array_equal(cascade(["x"], [4.0], [2])[0], clips[2])


@pytest.mark.parametrize("sampler", ["dpm++2m", "ddpm"])
def test_spatial_super_resolution_draws_one_noise_for_all_frames_and_all_chunks(
    cascade: Pipeline, sampler: str
) -> None:
    still = torch.rand(1, 3, 1, 8, 8).expand(2, 3, 9, 8, 8)
    large = {}
    for shared in (True, False):
        settings = dataclasses.replace(cascade.sampling, shared_noise=shared, sampler=sampler)
        large[shared] = sr_high(cascade, still, settings)
    # chunks of 4, 4 and 1 frames: a float32 kernel may round the last one otherwise
    torch.testing.assert_close(large[True], large[True][:, :, :1].expand_as(large[True]), atol=1e-4, rtol=0)
    assert (large[False] - large[False][:, :, :1]).abs().max() > 0.1


def test_spatial_super_resolution_does_not_depend_on_its_chunks(cascade: Pipeline) -> None:
    clips, made = torch.rand(2, 3, 9, 8, 8), []
    for chunk in (1, 4, 100):
        settings = dataclasses.replace(cascade.sampling, chunk=chunk, sampler="ddpm")
        made.append(sr_high(cascade, clips, settings))
    torch.testing.assert_close(made[0], made[1], atol=1e-4, rtol=0)
    torch.testing.assert_close(made[0], made[2], atol=1e-4, rtol=0)


def test_a_variation_draws_other_noise_than_the_clip_that_it_varies() -> None:
    """With one seed for both, the variation of a clip would be almost that clip again."""
    text = TextRequest(prompt=Prompt("x"), fps=8.0, seed=0)
    variation = VariationRequest(frames=pictures(1, 4)[0], fps=8.0, seed=0)
    noise = [text.noise_seed, variation.noise_seed]
    assert len({number % 2**32 for number in noise}) == 2, "PyTorch's generator takes 32 bits"
    drawn = [torch.randn(100, generator=torch.Generator().manual_seed(number)) for number in noise]
    assert not torch.equal(*drawn)


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ({"prompts": "x"}, 1),
        ({"prompts": "x", "fps": 4, "seeds": 3}, 1),
        ({"prompts": ["x", "y"], "fps": 8.0, "seeds": 3}, 2),
        ({"prompts": ("x", "y"), "fps": np.array([4.0, 8.0]), "seeds": torch.tensor([0, 1])}, 2),
        ({"prompts": ["x", "y"], "fps": np.float32(8), "seeds": range(2)}, 2),
    ],
)
def test_texts_and_numbers_are_taken_as_they_come(given: dict[str, Any], count: int, text_pipeline: Path) -> None:
    assert Pipeline.from_pretrained(text_pipeline)(**given).shape == (count, 3, 8, 8, 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fps": [8.0]}, "fps: got 1 value for 2 clips; pass one for all or one per clip"),
        ({"seeds": [0, 1, 2]}, "seeds: got 3 values for 2 clips"),
        ({"prompts": 5}, "prompts: must be a text or a sequence of texts, got 5"),
        ({"prompts": ["x", 5]}, "prompt: must be text, got 5"),
        ({"prompts": []}, "prompts: is empty"),
        ({"fps": None}, "fps: must be a finite number above 0, got None"),
        ({"fps": "8"}, "fps: must be a finite number above 0, got '8'"),
        ({"seeds": 1.5}, "seed: must be a whole number"),
        ({"until": "xx"}, "until: must be one of `decoder`, `interpolator`, `sr_low`, `sr_high`, got 'xx'"),
        ({"loop": "yes"}, "loop: must be true or false"),
    ],
)
def test_wrong_arguments_are_named(given: dict[str, Any], message: str, text_pipeline: Path) -> None:
    with pytest.raises(UserError, match=message):
        Pipeline.from_pretrained(text_pipeline)(**{"prompts": ["x", "y"], **given})


def test_unknown_arguments_are_errors(cascade: Pipeline) -> None:
    with pytest.raises(TypeError, match="untill"):
        cascade.animate(pictures(1, 1), untill="sr_low")  # type: ignore[call-arg]


def test_a_variation_hangs_on_what_the_clip_shows_and_not_on_the_order_of_its_frames(cascade: Pipeline) -> None:
    clip = pictures(2, 4)
    made = cascade.variation(clip, [8.0] * 2, [0, 0], until="decoder")
    assert not np.array_equal(made[0], made[1])
    backwards = cascade.variation(clip[:, ::-1], [8.0] * 2, [0, 0], until="decoder")
    assert np.abs(made.astype(int) - backwards).max() <= 1


def test_a_use_that_fills_frames_needs_the_network_for_it(text_pipeline: Path) -> None:
    with pytest.raises(
        UserError, match="animate: this pipeline has no network `interpolator`. Train one with the config stage/inter"
    ):
        Pipeline.from_pretrained(text_pipeline).animate(pictures(1, 1), [8.0], [0])
    with pytest.raises(UserError, match="skip=2: this pipeline has no network `interpolator`"):
        Pipeline.from_pretrained(text_pipeline, skip=2)


def test_frames_of_another_size_are_refused(cascade: Pipeline) -> None:
    with pytest.raises(UserError, match=r"frames: must have shape \(T, 8, 8, 3\), got \(1, 16, 16, 3\); resize them"):
        cascade.animate(np.zeros((1, 1, 16, 16, 3), np.uint8), [8.0], [0])


def test_pixels_survive_the_way_to_the_networks_and_back() -> None:
    every_value = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 1, 16, 16, 3)
    assert np.array_equal(to_uint8(from_uint8(every_value)), every_value)


def test_an_fps_of_zero_is_refused_before_anything_is_computed(text_pipeline: Path) -> None:
    with pytest.raises(UserError, match="fps: must be a finite number above 0, got 0.0"):
        Pipeline.from_pretrained(text_pipeline)(["x"], [0.0], [0])


def test_no_prompt_is_refused(text_pipeline: Path) -> None:
    with pytest.raises(UserError, match="prompts: is empty; give at least one text"):
        Pipeline.from_pretrained(text_pipeline)([], [], [])


def test_a_folder_without_a_pipeline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pipeline.json: no such file; write a pipeline of trained"):
        Pipeline.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"sampler": "ddmi"}, "sampler: must be one of .*, got 'ddmi'. Did you mean `dd"),
        ({"interpolator_sampler": "huen", "skip": 2}, "interpolator_sampler: .*, got 'huen'. Did you mean `heun`"),
        ({"sr_sampler": "ddmp", "low_factor": 2}, "sr_sampler: must be one of .*, got 'ddmp'. Did you mean `ddpm`"),
        ({"interpolation": "lineal"}, "Did you mean `linear`"),
        ({"steps": 1}, "steps: must be a whole number ≥ 2 and ≤ 10000, got 1"),
        ({"steps": 8.0}, "steps: must be a whole number"),
        ({"batch_size": 2000}, "batch_size: must be a whole number ≥ 1 and ≤ 1024, got 2000"),
        ({"chunk": 10**9}, "chunk: must be a whole number ≥ 1 and ≤ 4096"),
        ({"guidance_scale": float("nan")}, "guidance_scale: must be a finite number.*got nan"),
        ({"guidance_scale": float("inf")}, "guidance_scale: must be a finite number.*got inf"),
        ({"guidance_scale": "2"}, "guidance_scale: must be a finite number.*got '2'"),
        ({"sigma_max": 0.01}, "sigma_max: must be a finite number above 0.02"),
        ({"shared_noise": 1}, "shared_noise: must be true or false"),
        ({"augmentation": -0.1}, "augmentation: must be a finite number ≥ 0"),
        ({"augmentation": 0.2}, "augmentation: 0.2 has no effect with low_factor=1 and high_factor=1"),
        ({"interpolator_sampler": "heun"}, "interpolator_sampler: heun has no effect with skip=1"),
        ({"interpolator_steps": 8}, "interpolator_steps: 8 has no effect with skip=1"),
        ({"sr_sampler": "heun"}, "sr_sampler: heun has no effect with low_factor=1 and high_factor=1"),
        ({"shared_noise": False}, "shared_noise: False has no effect with high_factor=1"),
        ({"interpolation": "repeat"}, "interpolation: `repeat` has no effect with skip=1"),
        ({"size": 4096, "batch_size": 1024}, "one batch of the decoder has 576 GiB of pixels as float32, at most 16"),
        ({"size": 2048, "high_factor": 16}, "one clip has 36.0 GiB"),
        ({"output_size": 8}, "output_size: frames can only be reduced in size: must be below the 8 pixels .*, got 8"),
        ({"skip": 4}, "skip: a frame skip of 4 does not fit 3 frames, .*; use one of 1, 2"),
    ],
)
def test_impossible_settings_are_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Sampling(**{"size": 8, "frames": 3, **setting})


def test_a_frame_rate_that_the_networks_were_not_trained_for_is_refused(
    stages: dict[str, Path], tmp_path: Path
) -> None:
    for role, fps in (("decoder", (4.0, 16.0)), ("interpolator", (4.0, 24.0))):
        shutil.copytree(stages[role], tmp_path / role)
        card = replace(read_card(tmp_path / role), trained=Trained(fps=fps))
        write_card(tmp_path / role, card)
    sampling = Sampling(size=8, frames=5, skip=2, steps=2, batch_size=1)
    bounded = {role: tmp_path / role for role in ("decoder", "interpolator")}
    write_pipeline(tmp_path / "pipeline", sampling, NetworkFolders(**stages | bounded))
    pipeline = Pipeline.from_pretrained(tmp_path / "pipeline")

    assert pipeline(["a circle"], [12.0], [0]).shape[1] == 9
    with pytest.raises(UserError, match="fps: 3 frames per second is outside .* range of `decoder`; choose 4 to 12"):
        pipeline(["a circle"], [3.0], [0])
    with pytest.raises(UserError, match="fps: 16 .* trained range of `interpolator`; choose 4 to 12"):
        pipeline(["a circle"], [16.0], [0])
    assert pipeline(["a circle"], [16.0], [0], until="decoder").shape[1] == 5, "what does not interpolate may"
    with pytest.raises(UserError, match="fps: 25 .* trained range of `interpolator`; choose 4 to 24"):
        pipeline.animate(pictures(1, 1), [25.0], [0])


def test_a_network_of_another_shape_is_refused_by_the_name_of_a_weight(stages: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(stages["clip"], tmp_path / "clip")
    other = Card.of({**NODES["clip"], "channels": 4})
    write_card(tmp_path / "clip", replace(read_card(tmp_path / "clip"), network=other.network))
    with pytest.raises(UserError, match=r"weights are not those of the network .* first `image"):
        load_network(tmp_path / "clip")


def test_a_folder_without_weights_says_how_to_train(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a trained network, `weights.safetensors` is missing; train the stage"):
        load_network(tmp_path)


def test_a_pipeline_with_an_exchanged_network_is_refused(text_pipeline: Path, tmp_path: Path) -> None:
    shutil.copytree(text_pipeline, tmp_path / "p")
    file = tmp_path / "p" / "pipeline.json"
    content = json.loads(file.read_text())
    content["checkpoints"]["decoder"] = "0" * 16
    del content["sha256"]  # as of a version that did not record it
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match="decoder: holds network .*, but pipeline.json records 0000000000000000"):
        Pipeline.from_pretrained(tmp_path / "p")


@pytest.mark.parametrize("key", ["steps", "guidance_scale", "frames"])
def test_a_pipeline_whose_settings_were_changed_is_refused(key: str, text_pipeline: Path, tmp_path: Path) -> None:
    shutil.copytree(text_pipeline, tmp_path / "p")
    file = tmp_path / "p" / "pipeline.json"
    content = json.loads(file.read_text())
    content["sampling"][key] += 1
    file.write_text(json.dumps(content, indent=1))
    with pytest.raises(UserError, match="pipeline.json: was edited or damaged after it was written. Write the pip"):
        Pipeline.from_pretrained(tmp_path / "p")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "pipeline.json: not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "pipeline.json: must be"),
        ('{"version": 2}', "pipeline.json"),
        ('{"version": 1, "sampling": {"size": 8, "frames": 3, "steps": NaN}, "checkpoints": {}}', "pipeline.json"),
        (
            '{"version": 1, "sampling": {"size": 8, "frames": 3, "shared_noise": false}, '
            '"checkpoints": {"clip": "a", "prior": "b", "decoder": "c"}}',
            "pipeline.json.sampling.shared_noise: False has no effect",
        ),
    ],
)
def test_a_broken_pipeline_file_is_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "pipeline.json").write_text(text)
    with pytest.raises(UserError, match=message):
        Pipeline.from_pretrained(tmp_path)
