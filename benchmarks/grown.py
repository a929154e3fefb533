"""Cost of training image networks of diffusers that were extended by time: Karlo's decoder and Stable Diffusion 1.5.

Run it as ``python benchmarks/grown.py``: a table of parameters, operations and memory on PyTorch's meta device, without
any weights. With ``--device cuda`` it trains each network with random weights in bfloat16 and measures memory and time.
"""

import argparse
import time
from typing import Any

import torch

from mav_lightning.common.units import count, memory, operations
from mav_lightning.diffusion.denoiser import EpsDenoiser, HybridDenoiser, NetDenoiser
from mav_lightning.modules.transfer import freeze_spatial
from mav_lightning.nn.activation_checkpointing import ActivationCheckpointing
from mav_lightning.pretrained.grown_unet import GrownUNet
from mav_lightning.pretrained.timesteps import NoiseSchedule

FRAMES, CHANNELS, SIZE = 16, {"Karlo, 64 px": 3, "Stable Diffusion 1.5, 64 × 64 latents": 4}, 64
KARLO: dict[str, Any] = {
    "sample_size": 64, "layers_per_block": 3, "in_channels": 3, "out_channels": 6, "cross_attention_dim": 1536,
    "block_out_channels": [320, 640, 960, 1280], "attention_head_dim": 64, "resnet_time_scale_shift": "scale_shift",
    "down_block_types": ["ResnetDownsampleBlock2D", *["SimpleCrossAttnDownBlock2D"] * 3],
    "up_block_types": [*["SimpleCrossAttnUpBlock2D"] * 3, "ResnetUpsampleBlock2D"],
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn", "class_embed_type": "identity",
}  # fmt: skip
TEXT_PROJ = {"time_embed_dim": 1280, "cross_attention_dim": 1536}
STABLE_DIFFUSION: dict[str, Any] = {
    "sample_size": 64, "layers_per_block": 2, "in_channels": 4, "out_channels": 4, "cross_attention_dim": 768,
    "block_out_channels": [320, 640, 1280, 1280], "attention_head_dim": 8,
    "down_block_types": [*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"],
    "up_block_types": ["UpBlock2D", *["CrossAttnUpBlock2D"] * 3],
}  # fmt: skip
MODES: tuple[ActivationCheckpointing, ...] = ("off", "full")


def build(name: str, checkpointing: ActivationCheckpointing) -> NetDenoiser:
    """Build the denoiser of a network with random weights."""
    schedule = NoiseSchedule(beta_schedule="squaredcos_cap_v2")
    if name.startswith("Karlo"):
        net = GrownUNet("UNet2DConditionModel", KARLO, schedule, TEXT_PROJ, activation_checkpointing=checkpointing)
        return HybridDenoiser(net, 1.0)
    net = GrownUNet("UNet2DConditionModel", STABLE_DIFFUSION, schedule, activation_checkpointing=checkpointing)
    return EpsDenoiser(net, 1.0)


def computed(name: str, checkpointing: ActivationCheckpointing, frozen: bool) -> str:
    """Return a row of the table of computed costs."""
    from mav_lightning.flops import denoiser_cost

    with torch.device("meta"):
        denoiser = build(name, checkpointing)
    if frozen:
        freeze_spatial(denoiser)
    cost = denoiser_cost(denoiser, SIZE, FRAMES)
    layers, again = "temporal" if frozen else "all", "yes" if checkpointing == "full" else "no"
    return (
        f"| {name} | {layers} | {again} | {count(cost.parameters)} "
        f"| {count(cost.temporal)} | {operations(cost.flops)} | {memory(cost.state_bytes)} "
        f"| {memory(cost.activation_bytes)} | {memory(cost.peak_bytes)} |"
    )


def measured(name: str, checkpointing: ActivationCheckpointing, frozen: bool, device: str, steps: int = 3) -> str:
    """Train on one random clip and return a row of the table of measured costs."""
    torch.manual_seed(0)
    with torch.device(device):
        denoiser = build(name, checkpointing)
        clip = torch.randn(1, CHANNELS[name], FRAMES, SIZE, SIZE)
        cond, fps, sigma = torch.zeros(1, 768), torch.ones(1), torch.ones(1)
    if frozen:
        freeze_spatial(denoiser)
    trained = [parameter for parameter in denoiser.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5)
    torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(steps + 1):
        torch.cuda.synchronize()
        start = time.perf_counter()
        with torch.autocast("cuda", torch.bfloat16):
            loss = denoiser.loss(clip, sigma, cond, fps).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    peak = memory(torch.cuda.max_memory_allocated())
    best = min(times[1:])
    layers, again = "temporal" if frozen else "all", "yes" if checkpointing == "full" else "no"
    return f"| {name} | {layers} | {again} | {peak} | {best:.2f} s | {float(loss.detach()):.3f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="meta", choices=["meta", "cuda"])
    device = parser.parse_args().device
    if device == "meta":
        print("| network | trained | recompute | parameters | temporal | FLOPs | states | activations | peak |")
        print("|---|---|---|---|---|---|---|---|---|")
    else:
        print(
            f"{torch.cuda.get_device_name()}, torch {torch.__version__}, bfloat16, one clip of {FRAMES} frames, AdamW"
        )
        print("| network | trained | recompute | peak memory | step | loss |")
        print("|---|---|---|---|---|---|")
    for name in CHANNELS:
        for frozen in (True, False):
            for checkpointing in MODES:
                row = (
                    computed(name, checkpointing, frozen)
                    if device == "meta"
                    else measured(name, checkpointing, frozen, device)
                )
                print(row, flush=True)
                if device == "cuda":
                    torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
