import dataclasses
import functools
from typing import Any

import pytest
import torch

from datamodules.batch import ClipBatch, ImageBatch, JointBatch
from mav_lightning.common.errors import UserError
from mav_lightning.diffusion.conditioning import downsample, upsample
from mav_lightning.diffusion.denoised import Denoised
from mav_lightning.diffusion.denoiser import EDMDenoiser, HybridDenoiser
from mav_lightning.diffusion.masks import MaskedFrames, MaskSampler
from mav_lightning.diffusion.noise_levels import LogNormalNoise
from mav_lightning.modules.base import ImageEncoder
from mav_lightning.modules.clip_module import CLIPModule
from mav_lightning.modules.decoder import SpatialDecoder, TemporalDecoder
from mav_lightning.modules.denoising import Denoising
from mav_lightning.modules.frozen import FrozenCLIP
from mav_lightning.modules.interpolator import Interpolator
from mav_lightning.modules.optim import Schedule, Warmup, WarmupCosine, WarmupStableDecay
from mav_lightning.modules.super_resolution import SuperResolution
from mav_lightning.nn.small_clip import SmallCLIP
from mav_lightning.nn.unet import SpaceTimeUNet

SMALL: dict[str, Any] = {
    "channels": 16,
    "multipliers": (1, 2),
    "attention": (1,),
    "cond_channels": 8,
    "head_channels": 16,
}
IMAGE: dict[str, Any] = {**SMALL, "temporal_kernel_size": 0, "temporal_attention": False, "fps": "off"}
optimizer = functools.partial(torch.optim.AdamW, lr=1e-2)


def encoder() -> FrozenCLIP:
    torch.manual_seed(0)
    return FrozenCLIP(SmallCLIP(size=8, channels=8, width=8))


def denoising(**options: Any) -> Denoising:
    return Denoising(encoder(), LogNormalNoise(), optimizer, WarmupCosine(10), **options)


def clips(count: int = 2) -> ClipBatch:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(count, 3, 4, 8, 8, generator=generator) * 2 - 1
    return ClipBatch(pixels, torch.full((count,), 8.0), [f"clip{i}" for i in range(count)])


def test_a_temporal_decoder_equals_its_parent_frame_by_frame_before_its_first_step() -> None:
    torch.manual_seed(0)
    parent = EDMDenoiser(SpaceTimeUNet(**IMAGE)).double()
    for parameter in parent.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    child = TemporalDecoder(
        EDMDenoiser(SpaceTimeUNet(**SMALL)), parent=parent.float(), denoising=denoising()
    ).denoiser.double()
    x, sigma, cond = torch.randn(2, 3, 4, 8, 8).double(), torch.tensor([0.5, 3.0]).double(), torch.randn(2, 8).double()
    clip = child(x, sigma, cond, torch.tensor([4.0, 16.0]).double()).x0
    for frame in range(4):
        alone = parent.double()(x[:, :, frame], sigma, cond).x0
        torch.testing.assert_close(clip[:, :, frame], alone, atol=1e-12, rtol=0)


def test_one_step_of_the_temporal_stage_moves_only_what_it_may() -> None:
    parent = EDMDenoiser(SpaceTimeUNet(**IMAGE))
    module = TemporalDecoder(EDMDenoiser(SpaceTimeUNet(**SMALL)), parent=parent, spatial_lr=0.0, denoising=denoising())
    for name, parameter in module.denoiser.named_parameters():  # let the zero-initialised output pass gradients
        if name.endswith("conv_out.spatial.weight"):
            torch.nn.init.normal_(parameter)
    before = {name: value.clone() for name, value in module.denoiser.state_dict().items()}
    step = module.configure_optimizers()["optimizer"]
    module.losses(clips()).mean().backward()
    step.step()
    moved = {name for name, value in module.denoiser.state_dict().items() if not torch.equal(value, before[name])}
    assert moved and moved <= {f"net.{name}" for name in module.net.temporal_names()}


def test_a_joint_batch_teaches_motion_by_its_clips_and_looks_by_its_images() -> None:
    module = TemporalDecoder(EDMDenoiser(SpaceTimeUNet(**SMALL)), denoising())
    images = ImageBatch(clips(3).pixels[:, :, 0], None, ["a", "b", "c"])
    torch.nn.init.normal_(module.denoiser.net.conv_out.spatial.weight)
    losses = module.losses(JointBatch(clips(), images))
    assert losses.shape == (5,)
    reached = {}
    for kind, part in {"clips": losses[:2], "images": losses[2:]}.items():
        module.zero_grad()
        part.sum().backward(retain_graph=True)
        reached[kind] = {name for name, weight in module.denoiser.named_parameters() if bool((weight.grad != 0).any())}
    temporal = {f"net.{name}" for name in module.net.temporal_names()}
    assert reached["clips"] & temporal
    assert reached["images"] and not reached["images"] & temporal, "images skip time"


def test_a_trained_clip_records_the_words_of_its_training_captions_over_restarts() -> None:
    def step(module: CLIPModule, *captions: str) -> None:
        module.log = lambda *_, **__: None  # type: ignore[method-assign,assignment]
        keys = [str(number) for number in range(len(captions))]
        batch = ImageBatch(torch.rand(len(captions), 3, 8, 8), list(captions), keys)
        module.training_step(batch, 0)

    first, second = (CLIPModule(SmallCLIP(size=8, length=3)) for _ in range(2))
    step(first, "A red circle", "one two three four")
    checkpoint: dict[str, Any] = {}
    first.on_save_checkpoint(checkpoint)
    assert checkpoint["words"] == ["a", "circle", "one", "red", "three", "two"], "`four` was not read"
    second.on_load_checkpoint(checkpoint)
    step(second, "a dog")
    assert second.training_facts() == {"words": ("a", "circle", "dog", "one", "red", "three", "two")}
    with pytest.raises(UserError, match="words: must be a list"):
        second.on_load_checkpoint({"words": "text"})


def interpolator(parent: EDMDenoiser | None = None) -> Interpolator:
    net = EDMDenoiser(SpaceTimeUNet(in_channels=7, **SMALL))
    return Interpolator(net, denoising(), MaskSampler(), parent=parent)


def test_an_interpolator_equals_its_parent_before_its_first_step_whatever_is_known() -> None:
    torch.manual_seed(0)
    parent = EDMDenoiser(SpaceTimeUNet(**SMALL))
    for parameter in parent.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    child = interpolator(parent)
    assert child.transferred is not None and child.transferred.widened == ["net.conv_in.spatial.weight"]
    batch = clips()
    given = MaskedFrames(batch.pixels, torch.rand(2, 4) < 0.5).channels()
    arguments = torch.randn_like(batch.pixels), torch.tensor([0.5, 3.0]), torch.randn(2, 8), batch.fps
    torch.testing.assert_close(child.denoiser(*arguments, given), parent(*arguments))


def test_an_interpolator_is_judged_by_the_unknown_frames_alone() -> None:
    module, batch = interpolator(), clips(8)
    masks = module.masks = lambda *_: torch.tensor([[True, False, False, True]] * 8)  # type: ignore[assignment]
    with torch.no_grad():  # a network whose answer is its noisy input misses every frame by the noise
        module.denoiser.forward = lambda x, *_: Denoised(x)  # type: ignore[method-assign]
        torch.manual_seed(0)
        all_missed = module.losses(batch)
        known = MaskedFrames(batch.pixels, masks())
        module.denoiser.forward = lambda x, *_: Denoised(known.replace(x))  # type: ignore[method-assign]
        torch.manual_seed(0)
        torch.testing.assert_close(module.losses(batch), all_missed)
        module.denoiser.forward = lambda x, *_: Denoised(MaskedFrames(batch.pixels, ~masks()).replace(x))  # type: ignore[method-assign]
        assert bool((module.losses(batch) == 0).all())


def super_resolution(**options: Any) -> SuperResolution:
    net = EDMDenoiser(SpaceTimeUNet(in_channels=7, **{**IMAGE, "attention": ()}))
    return SuperResolution(net, denoising(), **{"factor": 2, "crop": 4, "augmentation": LogNormalNoise(), **options})


def test_super_resolution_sees_the_shrunk_crop_that_it_is_to_enlarge() -> None:
    module, seen = super_resolution(augmentation=LogNormalNoise(-20.0, 0.0)), []
    module.denoiser.register_forward_pre_hook(lambda _, given: seen.append(given))
    pixels = clips().pixels[:, :, 0]
    module.losses(ImageBatch(pixels, None, ["a", "b"]))
    x, _, _, fps, given = seen[0]
    assert x.shape == (2, 3, 4, 4) and given.shape == (2, 4, 4, 4) and fps is None
    for picture, seen_low in zip(pixels, given, strict=True):  # each has a crop of its own
        crops = [picture[None, :, i : i + 4, j : j + 4] for i in (0, 2, 4) for j in (0, 2, 4)]
        assert any(torch.allclose(seen_low[:3], upsample(downsample(crop, 2), 2)[0], atol=1e-6) for crop in crops)


def test_super_resolution_learns_from_clips_as_from_images() -> None:
    net = EDMDenoiser(SpaceTimeUNet(in_channels=7, **{**SMALL, "attention": (), "temporal_attention": False}))
    parent = super_resolution().denoiser
    module = SuperResolution(net, denoising(), 2, 4, LogNormalNoise(), parent=parent)
    assert module.transferred is not None and module.transferred.new
    assert module.losses(clips()).shape == (2,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": 5}, "crop: must be a multiple of the factor, which is 2 or more; got 5 and 2"),
        ({"factor": 1}, "crop: must be a multiple of the factor, which is 2 or more; got 4 and 1"),
    ],
)
def test_a_crop_that_cannot_be_shrunk_is_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        super_resolution(**options)


def test_a_crop_larger_than_the_pictures_is_refused_with_their_size() -> None:
    with pytest.raises(UserError, match="crop: 16 pixels are more than the pictures have, 8"):
        super_resolution(crop=16).losses(ImageBatch(torch.zeros(2, 3, 8, 8), None, ["a", "b"]))


def test_a_network_that_sees_other_channels_than_its_stage_gives_is_refused() -> None:
    with pytest.raises(UserError, match="in_channels: must be 7 for Interpolator, got 3"):
        Interpolator(EDMDenoiser(SpaceTimeUNet(**SMALL)), denoising(), MaskSampler())
    with pytest.raises(UserError, match="in_channels: must be 3 for SpatialDecoder, got 7"):
        SpatialDecoder(EDMDenoiser(SpaceTimeUNet(in_channels=7, **IMAGE)), denoising())


def test_the_parents_layers_learn_as_much_slower_as_asked() -> None:
    parent = EDMDenoiser(SpaceTimeUNet(**IMAGE))
    module = TemporalDecoder(EDMDenoiser(SpaceTimeUNet(**SMALL)), parent=parent, spatial_lr=0.25, denoising=denoising())
    rates = {
        name: group["initial_lr"]
        for group in module.configure_optimizers()["optimizer"].param_groups
        for name, parameter in module.named_parameters()
        if any(parameter is other for other in group["params"])
    }
    assert set(rates) == {name for name, _ in module.named_parameters()}
    temporal = {f"denoiser.net.{name}" for name in module.net.temporal_names()}
    assert all(rate == pytest.approx(1e-2 if name in temporal else 2.5e-3) for name, rate in rates.items())


def test_a_negative_learning_rate_is_refused_with_a_way_out() -> None:
    with pytest.raises(UserError, match="spatial_lr: must be 0, .*, or more, got -1; try 1"):
        TemporalDecoder(EDMDenoiser(SpaceTimeUNet(**SMALL)), spatial_lr=-1.0, denoising=denoising())


def test_the_frozen_encoder_is_neither_saved_nor_trained() -> None:
    module = SpatialDecoder(EDMDenoiser(SpaceTimeUNet(**IMAGE)), denoising=denoising())
    assert all(name.startswith("denoiser.") for name in module.state_dict())
    module.losses(ImageBatch(torch.zeros(2, 3, 8, 8), None, ["a", "b"])).mean().backward()
    assert all(parameter.grad is None for parameter in module.denoising.encoder.clip.parameters())


def test_conditions_are_dropped_as_often_as_asked() -> None:
    torch.manual_seed(0)
    cond = denoising(cond_dropout=0.25).condition(torch.rand(2000, 3, 8, 8), None, 8)
    assert float((cond == 0).all(dim=1).float().mean()) == pytest.approx(0.25, abs=0.03)


def test_condition_noise_has_the_promised_length() -> None:
    torch.manual_seed(0)
    images, how = torch.rand(500, 3, 8, 8), denoising(cond_dropout=0.0, cond_noise=0.3)
    noise = (how.condition(images, None, 8) - how.encoder(images)).norm(dim=1)
    assert float(noise.square().mean().sqrt()) == pytest.approx(0.3, abs=0.02)


def test_clip_without_captions_is_refused_by_key() -> None:
    module = CLIPModule(SmallCLIP(size=8), optimizer, WarmupCosine(10))
    with pytest.raises(
        UserError,
        match="sample `lonely` has no caption, but this stage trains on image-text pairs: pack images with captions",
    ):
        module.training_step(ImageBatch(torch.zeros(1, 3, 8, 8), None, ["lonely"]), 0)


@pytest.mark.parametrize("schedule", [WarmupCosine(10), WarmupStableDecay(10), Warmup(3)])
def test_schedules_hold_plain_values_which_checkpoints_accept(schedule: Schedule) -> None:
    assert all(isinstance(value, int | float) for value in vars(schedule).values())


def test_the_learning_rate_warms_up_and_ends_low() -> None:
    schedule = WarmupCosine(steps=100, warmup=10, final=0.02)
    assert schedule(0) == pytest.approx(0.1, abs=1e-3)
    assert schedule(100) == schedule(1000) == pytest.approx(0.02)
    assert all(schedule(step) >= schedule(step + 1) for step in range(10, 100))


def test_the_learning_rate_can_stay_up_and_then_fall_in_a_straight_line() -> None:
    schedule = WarmupStableDecay(steps=100, warmup=10, decay=0.4, final=0.02)
    assert schedule(0) == pytest.approx(0.1)
    assert {schedule(step) for step in range(9, 61)} == {1.0}
    falls = [schedule(step) - schedule(step + 1) for step in range(60, 100)]
    assert falls == pytest.approx([0.98 / 40] * 40)
    assert schedule(100) == schedule(1000) == pytest.approx(0.02)


class Unusable(ImageEncoder):
    channels = 8

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the encoder was asked")


def test_cached_embeddings_take_the_encoders_place() -> None:
    batch = clips()
    cached = torch.nn.functional.normalize(torch.randn(2, 8, generator=torch.Generator().manual_seed(1)))
    asked = Denoising(Unusable(), LogNormalNoise(), optimizer, WarmupCosine(10), cond_dropout=0.0, cond_noise=0.0)
    torch.testing.assert_close(asked.condition_of_clips(dataclasses.replace(batch, embedding=cached), 8), cached)
    with pytest.raises(AssertionError, match="the encoder was asked"):
        asked.condition_of_clips(batch, 8)


def test_cached_embeddings_of_another_length_are_told() -> None:
    with pytest.raises(UserError, match="embeddings: the cached embeddings have length 5, and the network takes 8"):
        denoising().condition(clips().pixels[:, :, 0], torch.zeros(2, 5), 8)


def test_a_network_that_tells_no_variance_is_not_trained_to() -> None:
    with pytest.raises(UserError, match="out_channels: must be 6 for HybridDenoiser, got 3"):
        SpatialDecoder(HybridDenoiser(SpaceTimeUNet(**IMAGE)), denoising())


def test_decoders_work_with_the_documented_defaults() -> None:
    module = TemporalDecoder(EDMDenoiser(SpaceTimeUNet(**SMALL)))
    module.losses(clips()).mean().backward()
    found = module.configure_optimizers()
    assert isinstance(found["optimizer"], torch.optim.AdamW) and found["optimizer"].defaults["lr"] == 3e-4
    assert bool((module.condition_of_clips(clips()) == 0).all()), "without an encoder there is no condition"
    cached = dataclasses.replace(clips(), embedding=torch.ones(2, 8))
    assert bool((module.condition_of_clips(cached) != 0).any()), "cached embeddings need none"
    assert Interpolator(EDMDenoiser(SpaceTimeUNet(in_channels=7, **SMALL))).losses(clips()).shape == (2,)


def test_a_bare_network_is_wrapped_and_its_config_with_it() -> None:
    module = TemporalDecoder(SpaceTimeUNet(**SMALL))
    node = {"_target_": "mav_lightning.nn.unet.SpaceTimeUNet"}
    assert isinstance(module.denoiser, EDMDenoiser)
    assert module.network_config({"denoiser": node})["net"] == node
    assert module.network.state_dict().keys() == EDMDenoiser(SpaceTimeUNet(**SMALL)).state_dict().keys()
