"""A cascade of random networks, small enough to run in a test."""

from typing import Any

import numpy as np

from mav_lightning.cascade.sampling import Sampling

__all__ = ["NODES", "SAMPLING", "TEXT", "pictures"]

NODES: dict[str, dict[str, Any]] = {
    "clip": {"_target_": "mav_lightning.nn.small_clip.SmallCLIP", "size": 8, "channels": 8, "width": 8},
    "prior": {"_target_": "mav_lightning.nn.ridge_prior.RidgePrior", "channels": 8},
    "decoder": {
        "_target_": "mav_lightning.diffusion.denoiser.EDMDenoiser",
        "net": {
            "_target_": "mav_lightning.nn.unet.SpaceTimeUNet", "channels": 16, "multipliers": [1, 2],
            "attention": [1], "cond_channels": 8, "head_channels": 16,
        },
    },
}  # fmt: skip
SMALLER = {
    **NODES["decoder"]["net"],
    "in_channels": 7,
    "attention": [],
    "temporal_attention": False,
    "cond_channels": 1,
}
NODES["sr_low"] = {**NODES["decoder"], "net": SMALLER}
NODES["sr_high"] = {
    **NODES["decoder"], "net": {**SMALLER, "temporal_kernel_size": 0, "temporal_attention": False, "fps": "off"},
}  # fmt: skip
NODES["interpolator"] = {**NODES["decoder"], "net": {**NODES["decoder"]["net"], "in_channels": 7}}
SAMPLING = Sampling(size=8, frames=3, steps=2, batch_size=4)
TEXT = ("clip", "prior", "decoder")  # what text alone needs


def pictures(clips: int, frames: int) -> np.ndarray:
    """Noise of the decoder's size, (clips, frames, 8, 8, 3)."""
    return np.random.default_rng(0).integers(0, 256, (clips, frames, 8, 8, 3), dtype=np.uint8)
