from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from mav_lightning.common.errors import UserError
from mav_lightning.diffusion.denoiser import EDMDenoiser
from mav_lightning.modules.decoder import TemporalDecoder
from mav_lightning.modules.denoising import Denoising
from mav_lightning.modules.frozen import FrozenCLIP
from mav_lightning.modules.preview import PromptPreview, ShapesPreview
from mav_lightning.nn.base import ImagePrior
from mav_lightning.nn.small_clip import SmallCLIP
from mav_lightning.nn.unet import SpaceTimeUNet

SMALL: dict[str, Any] = {
    "channels": 16, "multipliers": (1, 2), "attention": (1,), "cond_channels": 8, "head_channels": 16,
}  # fmt: skip


def encoder() -> FrozenCLIP:
    torch.manual_seed(0)
    return FrozenCLIP(SmallCLIP(size=8, channels=8, width=8))


def test_a_preview_scores_what_it_plays() -> None:
    asked: dict[str, Any] = {}

    def score(videos: Any, fps: Any, shapes: Any) -> dict[str, float]:
        asked.update(videos=videos, fps=fps, shapes=shapes)
        return {"law": 0.5, "speed": float("nan")}

    preview = ShapesPreview(size=8, frames=3, fps=(4.0, 8.0), steps=2, score=score, shown=5)
    module = TemporalDecoder(EDMDenoiser(SpaceTimeUNet(**SMALL)), Denoising(encoder()), preview=preview)
    shown, scores = preview(module.denoiser, module.denoising.encoder, module.device)
    assert scores == {"law": 0.5}, "a number that is not finite is no number to log"
    assert asked["videos"].shape == (48, 3, 8, 8, 3) and asked["videos"].dtype.name == "uint8"
    assert len(asked["shapes"]) == 48 and asked["fps"].tolist() == [4.0] * 24 + [8.0] * 24
    assert {tag: clip.shape[0] for tag, (clip, _) in shown.items()} == {"preview/4fps": 5, "preview/8fps": 5}


class CaptionAsImage(ImagePrior):
    def predict(self, captions: Tensor, seeds: Sequence[int]) -> Tensor:
        assert list(seeds) == list(range(len(captions)))
        return captions[:, 0]


def test_a_preview_of_prompts_plays_a_clip_of_each_and_scores_nothing() -> None:
    clip = encoder().clip
    preview = PromptPreview(8, 3, ["a red circle", "a cross"], clip=clip, prior=CaptionAsImage(), steps=2)
    denoiser, device = EDMDenoiser(SpaceTimeUNet(**SMALL)), torch.device("cpu")
    shown, scores = preview(denoiser, None, device)
    again, _ = preview(denoiser, None, device)
    assert (list(shown), scores) == (["preview/8fps"], {})
    assert shown["preview/8fps"][0].shape == (2, 3, 8, 8, 3) and shown["preview/8fps"][1] == 8.0
    assert (shown["preview/8fps"][0] == again["preview/8fps"][0]).all()
    with torch.no_grad():
        expected = clip.encode_text(["a red circle", "a cross"])
    assert torch.equal(preview.embeddings(None, device), expected)


def test_a_preview_of_stills_is_empty_without_an_encoder() -> None:
    preview = ShapesPreview(size=8, frames=3, fps=(8.0,), steps=2)
    module = TemporalDecoder(EDMDenoiser(SpaceTimeUNet(**SMALL)), Denoising(), preview=preview)
    assert module.sample_clips() == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"prompts": []}, "prompts: must hold at least one prompt"),
        ({"prompts": [" "]}, "prompts: must hold at least one prompt, and none may be empty"),
        ({"clip": torch.nn.Identity()}, "clip: must embed images and captions, got a Identity"),
        ({"prior": torch.nn.Identity()}, "prior: must predict image embeddings, got a Identity"),
    ],
)
def test_a_preview_of_prompts_names_what_it_cannot_use(given: dict[str, Any], message: str) -> None:
    fit: dict[str, Any] = {"prompts": ["x"], "clip": encoder().clip, "prior": CaptionAsImage()}
    with pytest.raises(UserError, match=message):
        PromptPreview(size=8, frames=3, **fit | given)
