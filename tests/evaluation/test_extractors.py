from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from evaluation.clip_sources import Clip
from evaluation.extractors.base import Extractor
from evaluation.extractors.crossed import crossed_clips
from evaluation.extractors.shapes_layers import APPEARANCE, MOTIONS
from evaluation.extractors.shipped_weights import WEIGHTS, load_extractor
from mav_lightning.common.shapes_world.laws import LAW_OF_SHAPE
from mav_lightning.common.shapes_world.scene import caption


def load(name: str) -> Any:
    return load_extractor(name)


def seen(network: Extractor, pixels: NDArray[np.uint8]) -> torch.Tensor:
    return torch.stack([network.prepare(Clip("a", clip, 8.0, None, {}, "")) for clip in pixels])


@pytest.mark.parametrize("name", ["shapes-image", "shapes-video", "shapes-clip"])
def test_weights_are_small(name: str) -> None:
    assert (WEIGHTS / f"{name}.safetensors").stat().st_size <= 1 << 20


@pytest.mark.parametrize("fps", [4.0, 8.0, 16.0])
def test_appearance_of_real_clips_is_recognised(real_clips: Callable, fps: float) -> None:
    clips, network = real_clips(fps), load("shapes-image")

    logits = network.classify(network(seen(network, clips.pixels)).flatten(0, 1))

    for name, classes in APPEARANCE.items():
        wanted = torch.tensor([classes.index(scene.attributes()[name]) for scene in clips.scenes])
        assert (logits[name].argmax(1).unflatten(0, (-1, 9)) == wanted[:, None]).float().mean() >= 0.98


@pytest.mark.parametrize("right_law", [True, False])
def test_motion_is_recognised_whatever_the_shape(real_clips: Callable, right_law: bool) -> None:
    clips, network = real_clips(8.0, right_law), load("shapes-video")

    told = network.classify(network(seen(network, clips.pixels))[:, 0])["motion"].argmax(1)
    own = torch.tensor([MOTIONS.index(LAW_OF_SHAPE[shape]) for shape in clips.shapes])

    assert ((told == own) == right_law).float().mean() >= 0.9


def test_captions_are_matched_to_frames(real_clips: Callable) -> None:
    clips, network = real_clips(8.0), load("shapes-clip")

    similarity = (
        network(seen(network, clips.pixels[:, :1]))[:, 0]
        @ network.texts([caption(scene, number) for number, scene in enumerate(clips.scenes)]).T
    )

    assert (similarity.argmax(dim=1) == torch.arange(72)).float().mean() >= 0.9
    assert similarity.diagonal().mean() > similarity.mean() + 0.3


def test_a_caption_of_unknown_words_is_no_error() -> None:
    texts = load("shapes-clip").texts(["", "ein rotes Kreuz", "a red cross on a dark background"])

    assert texts.shape == (3, 32)
    assert texts.isfinite().all()


@pytest.mark.parametrize("name", ["shapes-image", "shapes-video"])
def test_features_do_not_depend_on_the_batch(real_clips: Callable, name: str) -> None:
    network = load(name)
    prepared = seen(network, real_clips(8.0).pixels[:6])

    torch.testing.assert_close(network(prepared)[2:3], network(prepared[2:3]), rtol=1e-4, atol=1e-5)


def test_training_clips_cross_shape_and_motion_and_repeat_by_seed() -> None:
    clips, again = crossed_clips(40, seed=3), crossed_clips(40, seed=3)
    pairs = set(zip(clips.labels["shape"].tolist(), clips.labels["motion"].tolist(), strict=True))

    assert torch.equal(clips.pixels, again.pixels)
    assert clips.captions == again.captions
    assert len(pairs) > len(MOTIONS) * 2
    assert not np.array_equal(clips.pixels, crossed_clips(40, seed=4).pixels)
