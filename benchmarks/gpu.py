"""Everything that needs an accelerator, in one command of a few minutes; on a CPU, the same with small shapes.

    python benchmarks/gpu.py --out gpu.json

1. Correctness: output and gradients of the decoder in float32 and bfloat16, against float64 on the CPU, on new inputs.
2. Certificate: an untrained decoder's output for a clip equals its output for the frames, on the device.
3. Training steps of the decoders of `small` and `paper` (on a CPU: `tiny`): seconds, model FLOPs utilization, memory.
4. Peers in turn with this project's U-Net, if their packages are installed; see `benchmarks/requirements.txt`.
5. Clips per second of the pretrained cascade, by the number of clips at once.
6. A training that is killed and resumed, against one that is not: the weights must have the same bits.

Each part that fails is recorded with its error, and the rest goes on; the exit code is then 1.
"""

import contextlib
import functools
import gc
import json
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn

from datamodules.shapes_world_shards import WriteShapesWorld
from mav_lightning.common.hashing import file_sha256
from mav_lightning.config import instantiate, load_config
from mav_lightning.diffusion.denoiser import NetDenoiser, space_time_network
from mav_lightning.flops import NetworkCost, denoiser_cost
from mav_lightning.nn.unet import SpaceTimeUNet

# Dense bfloat16 operations per second, from NVIDIA's data sheets.
PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}  # relative error of output and gradients against float64


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Compute convolutions and matrix products in float32 rather than TensorFloat-32, which has 10 bits of mantissa."""
    backends = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = False
        yield
    finally:
        for backend, allowed in zip(backends, before, strict=True):
            backend.allow_tf32 = allowed


@full_float32()
def correctness(device: torch.device) -> dict[str, Any]:
    """Return relative errors of the output and of all gradients against float64 on the CPU."""
    seed = int(time.time())
    torch.manual_seed(seed)
    net = SpaceTimeUNet(channels=32, multipliers=(1, 2), attention=(1,), identity_init=False)
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    inputs = (torch.randn(2, 3, 8, 16, 16), torch.rand(2), torch.randn(2, 64), torch.tensor([4.0, 16.0]))
    exact = _output_and_gradients(net.double(), [x.double() for x in inputs])
    errors: dict[str, Any] = {}
    net = net.float().to(device)
    for name, kind in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        with torch.autocast(device.type, kind, enabled=kind is torch.bfloat16):
            found = _output_and_gradients(net, [x.to(device) for x in inputs])
        errors[name] = [float((a.cpu().double() - b).norm() / b.norm()) for a, b in zip(found, exact, strict=True)]
    wrong = [name for name, pair in errors.items() if max(pair) > TOLERANCE[name]]
    return {"relative errors of output and gradients": errors, "allowed": TOLERANCE, "holds": not wrong, "seed": seed}


def _output_and_gradients(net: nn.Module, inputs: list[Tensor]) -> tuple[Tensor, Tensor]:
    net.zero_grad()
    out = net(*inputs)
    out.float().square().mean().backward() if out.dtype is torch.bfloat16 else out.square().mean().backward()
    gradients = [parameter.grad.flatten() for parameter in net.parameters() if parameter.grad is not None]
    return out.detach().float() if out.dtype is torch.bfloat16 else out.detach(), torch.cat(gradients)


@full_float32()
def certificate(device: torch.device) -> dict[str, Any]:
    """Return the largest difference between the output for clips and that for their frames, in float32."""
    torch.manual_seed(0)
    net = SpaceTimeUNet(channels=32, multipliers=(1, 2), attention=(1,)).to(device).eval()
    for name, parameter in net.named_parameters():
        if name not in net.temporal_parameters() and not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    clips, noise = torch.randn(2, 3, 8, 16, 16, device=device), torch.rand(2, device=device)
    cond, fps = torch.randn(2, 64, device=device), torch.full((2,), 8.0, device=device)
    with torch.inference_mode():
        whole = net(clips, noise, cond, fps)
        frames = torch.stack([net(frame, noise, cond) for frame in clips.unbind(2)], dim=2)
    difference = float((whole - frames).abs().max() / frames.abs().max())
    return {"relative difference": difference, "allowed": 1e-4, "holds": difference <= 1e-4}


def decoder(scale: str, mode: str) -> dict[str, Any]:
    """Return the config of the decoder's training on clips, with a mode of activation checkpointing."""
    return load_config(f"stage/temporal_{scale}.yaml", extra={"module.denoiser.net.activation_checkpointing": mode})


@functools.cache
def decoder_cost(scale: str, mode: str, batch: int) -> NetworkCost:
    """Compute the cost of a training step of the decoder."""
    config = decoder(scale, mode)
    with torch.device("meta"):
        return denoiser_cost(instantiate(config["module"]["denoiser"]), config["size"], config["frames"], batch)


def training_step(scale: str, mode: str, batch: int, device: torch.device) -> dict[str, Any]:
    """Time training steps of a decoder in bfloat16 with AdamW, and return utilization and peak memory.

    Utilization counts the operations without those that activation checkpointing repeats.
    """
    config, cost, plain = decoder(scale, mode), decoder_cost(scale, mode, batch), decoder_cost(scale, "off", batch)
    denoiser: NetDenoiser = instantiate(config["module"]["denoiser"], nn.Module, "module.denoiser").to(device)
    net = space_time_network(denoiser)
    shape = (batch, 3, config["frames"], config["size"], config["size"])
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=1e-4, fused=True)
    clips = torch.randn(shape, device=device)
    sigma, fps = torch.ones(batch, device=device), torch.full((batch,), 8.0, device=device)
    cond = torch.randn(batch, net.cond_channels, device=device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16):
            loss = denoiser(clips, sigma, cond, fps, None).x0.float().square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    seconds = timed(step, device, 4 if device.type == "cuda" else 2)
    rate = plain.flops / seconds
    found = {"scale": scale, "mode": mode, "batch": batch, "seconds": seconds, "operations per second": rate}
    if device.type == "cuda":
        peak = next((value for name, value in PEAK.items() if name in torch.cuda.get_device_name()), None)
        found |= {"peak bytes": torch.cuda.max_memory_allocated(), "utilization": peak and rate / peak}
        # AdamW has a second momentum, and there is no moving average; what mav cost counts is in float32
        found["predicted bytes in float32"] = cost.peak_bytes
    return found


def steps(device: torch.device) -> list[dict[str, Any]]:
    """Run training steps in every mode of activation checkpointing, at growing batches until the memory is full."""
    found = []
    on_gpu = device.type == "cuda"
    for scale in ("small", "paper") if on_gpu else ("tiny",):
        for mode in ("off", "selective", "full"):
            for batch in (1, 2, 4, 16) if on_gpu else (1,):
                try:
                    found.append(training_step(scale, mode, batch, device))
                except torch.OutOfMemoryError:
                    found.append({"scale": scale, "mode": mode, "batch": batch, "out of memory": True})
                    break
                finally:
                    if on_gpu:
                        gc.collect()
                        torch.cuda.empty_cache()
                        torch.cuda.reset_peak_memory_stats()
    return found


def timed(step: Callable[[], None], device: torch.device, repeats: int) -> float:
    """Return the mean seconds of a step, after two that are not counted."""
    for _ in range(2):
        step()
    _wait(device)
    begun = time.perf_counter()
    for _ in range(repeats):
        step()
    _wait(device)
    return (time.perf_counter() - begun) / repeats


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def peers(device: torch.device) -> dict[str, Any]:
    """Time one training step of every installed peer in turn, at matched parameters."""
    from peer_networks import PEERS
    from peers import OURS, Training, build

    shape = (4, 3, 16, 64, 64) if device.type == "cuda" else (1, 3, 4, 16, 16)
    found: dict[str, Any] = {"shape": shape}
    for name in PEERS:
        try:
            with contextlib.redirect_stdout(sys.stderr):
                net = build(name, "parameters")[0].to(device)
        except ImportError as error:
            found[name] = f"not installed: {error.name}"
            continue
        found[name] = timed(Training(net, torch.randn(shape, device=device)), device, 5)
    own = found[OURS]
    return found | {"ratios": {name: found[name] / own for name in PEERS if isinstance(found[name], float)}}


def cascade(device: torch.device) -> list[dict[str, Any]]:
    """Time the pretrained cascade from text to the last network, by the number of clips in a batch."""
    from mav_lightning.cascade.video_pipeline import Pipeline

    found = []
    for clips in (1, 16, 64) if device.type == "cuda" else (1,):
        pipeline = Pipeline.from_pretrained(batch_size=clips).to(device)
        begun = time.perf_counter()
        out = pipeline(["a red circle on a dark background"] * clips, seeds=list(range(clips)))
        seconds = time.perf_counter() - begun
        found.append({"clips": clips, "shape": out.shape, "clips per second": clips / seconds})
    return found


def resume(device: torch.device) -> dict[str, Any]:
    """Train the text-image encoder for 40 steps, again with a kill, and compare the bits of the weights."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        WriteShapesWorld(images=256, clips=1, val_images=32, val_clips=1).run(folder / "data")
        whole, broken = folder / "whole", folder / "broken"
        _mav(*_training(folder / "data", whole, device))
        process = subprocess.Popen(_command(*_training(folder / "data", broken, device)), stderr=subprocess.DEVNULL)
        killed = _kill_after_checkpoint(process, broken)
        _mav(*_training(folder / "data", broken, device))
        weights = [file_sha256(path / "weights.safetensors") for path in (whole, broken)]
    return {"killed after": killed, "holds": weights[0] == weights[1]}


def _training(data: Path, out: Path, device: torch.device) -> list[str]:
    accelerator = "gpu" if device.type == "cuda" else "cpu"
    sizes = ["data.batch_size=16", "fit.steps=40", "fit.checkpoint_every=5"]
    return [
        "train",
        "stage/clip_tiny.yaml",
        f"needs.data={data}",
        *sizes,
        f"trainer.accelerator={accelerator}",
        "--out",
        str(out),
    ]


def _kill_after_checkpoint(process: "subprocess.Popen[bytes]", out: Path) -> str:
    """Kill a training as soon as it has a checkpoint, and return the checkpoint's name."""
    while process.poll() is None:
        if found := sorted(out.glob("checkpoints/*.ckpt")):
            process.kill()
            process.wait()
            return found[-1].name
    raise RuntimeError(f"the training ended before its first checkpoint, with exit code {process.returncode}")


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "mav_lightning", *words]


def _mav(*words: str) -> None:
    done = subprocess.run(_command(*words), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"mav {' '.join(words)}: {done.stderr[-500:]}")


PARTS: dict[str, Callable[[torch.device], Any]] = {
    "correctness": correctness,
    "certificate": certificate,
    "steps": steps,
    "cascade": cascade,
    "resume": resume,
    "peers": peers,
}


def run(part: str, device: torch.device) -> tuple[Any, bool]:
    """Run one part; return what it found, or its error, and whether it holds."""
    try:
        found = PARTS[part](device)
    except Exception as error:  # whatever breaks on a new machine is a finding; the other parts still run
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}"}, False
    return found, not isinstance(found, dict) or found.get("holds", True)


def main(
    out: Annotated[Path, typer.Option(help="JSON file of all figures.")] = Path("gpu.json"),
    part: Annotated[
        list[str] | None, typer.Option(help=f"Parts to run, of {', '.join(PARTS)}; all by default.")
    ] = None,
) -> None:
    """Measure and check everything on the GPU if there is one, else on the CPU with small shapes."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    results: dict[str, Any] = {"device": name, "torch": torch.__version__}
    good = True
    for each in part or PARTS:
        begun = time.perf_counter()
        found, holds = run(each, device)
        good = good and holds
        results[each] = {"seconds": time.perf_counter() - begun, "found": found}
        out.write_text(json.dumps(results, indent=1))
        typer.echo(f"{each}: {'ok' if holds else 'BROKEN'}, {results[each]['seconds']:.0f} s: {json.dumps(found)}")
    raise typer.Exit(0 if good else 1)


if __name__ == "__main__":
    typer.run(main)
