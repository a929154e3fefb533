"""Training recipe of the Shapes World extractors.

Run it as ``python -m evaluation.extractors.training_recipe``: about five minutes on one core.

The weights in ``evaluation/extractors/weights`` came from this recipe. Training again gives other bytes on another
machine and therefore other numbers: rename a protocol that pins such weights.
"""

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from evaluation.extractors.crossed import CrossedClips, crossed_clips
from evaluation.extractors.shapes_clip import ShapesClip, split_words
from evaluation.extractors.shapes_image import ShapesImage
from evaluation.extractors.shapes_layers import network_input
from evaluation.extractors.shapes_video import ShapesVideo
from evaluation.extractors.shipped_weights import save_extractor
from mav_lightning.common.shapes_world.scene import all_scenes, caption

CLIPS, HELD_OUT, SEED = 5000, 500, 0
_log = logging.getLogger(__name__)


def main() -> None:
    """Render the clips, then train, test and save the three networks in turn."""
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)7.0f ms  %(message)s")
    torch.manual_seed(SEED)
    clips, held_out = crossed_clips(CLIPS, seed=SEED + 1), crossed_clips(HELD_OUT, seed=SEED + 2)
    _log.info("rendered %d clips", CLIPS + HELD_OUT)
    words = sorted({word for scene in all_scenes() for k in range(16) for word in split_words(caption(scene, k))})
    _train("shapes-image", ShapesImage(), _classes_of_frames, clips, held_out, steps=600, batch=96)
    _train("shapes-video", ShapesVideo(), _classes_of_clips, clips, held_out, steps=1200, batch=24, rate=2e-3)
    _train("shapes-clip", ShapesClip(words), _matches, clips, held_out, steps=600, batch=96, words=words)


LossAndAccuracy = tuple[Tensor, dict[str, float]]  # the loss, and accuracies
Objective = Callable[[Any, CrossedClips, Tensor, Tensor], LossAndAccuracy]


def _train(
    name: str,
    network: nn.Module,
    objective: Objective,
    clips: CrossedClips,
    held_out: CrossedClips,
    steps: int,
    batch: int,
    rate: float = 3e-3,
    **arguments: Any,  # constructor arguments, stored with the weights
) -> None:
    started = time.perf_counter()
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps)
    for step, rows in enumerate(_batches(len(clips.pixels), batch, steps)):
        loss, scores = objective(network, clips, rows, _disturbed(clips.pixels[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            _log.info("%s step %d loss %.3f %s", name, step, loss.item(), scores)
    network.eval()
    with torch.no_grad():
        _, accuracy = objective(network, held_out, torch.arange(HELD_OUT), held_out.pixels)
    _log.info("%s held out: %s", name, accuracy)
    facts = {"clips": CLIPS, "steps": steps, "batch": batch, "seed": SEED, "held_out_clips": HELD_OUT}
    seconds = round(time.perf_counter() - started)
    save_extractor(name, network, arguments, facts | {"accuracy": accuracy, "seconds": seconds})


def _batches(count: int, size: int, steps: int) -> Iterator[Tensor]:
    order = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(order) < size:
            order = torch.randperm(count)
        rows, order = order[:size], order[size:]
        yield rows


def _disturbed(pixels: Tensor) -> Tensor:
    """Add slight noise and a brightness shift per clip, since generated frames are never free of noise."""
    shape = (len(pixels), 1, 1, 1, 1)
    noise = torch.randn(pixels.shape) * torch.rand(shape) * 10.0 + torch.randn(shape) * 5.0
    return (pixels + noise).round().clamp(0, 255).to(torch.uint8)


def _clips_input(pixels: Tensor) -> Tensor:
    clips: Tensor = network_input(pixels.flatten(0, 1)).unflatten(0, pixels.shape[:2])
    return clips


def _one_frame(pixels: Tensor) -> Tensor:
    return pixels[torch.arange(len(pixels)), torch.randint(pixels.shape[1], (len(pixels),))]


def _classes_of_frames(net: ShapesImage, clips: CrossedClips, rows: Tensor, seen: Tensor) -> LossAndAccuracy:
    return _cross_entropy(net.classify(net.images(network_input(_one_frame(seen)))), clips, rows)


def _classes_of_clips(net: ShapesVideo, clips: CrossedClips, rows: Tensor, seen: Tensor) -> LossAndAccuracy:
    """Compute the loss with a key-point term: motion is hardly learned without a position to follow."""
    features, centers = net.features_and_centers(_clips_input(seen))
    loss, scores = _cross_entropy(net.classify(features), clips, rows)
    off = torch.linalg.vector_norm(centers - clips.centers[rows], dim=-1).mean()
    return loss + 10.0 * off, scores | {"centre_off": round(off.item(), 4)}


def _cross_entropy(logits: dict[str, Tensor], clips: CrossedClips, rows: Tensor) -> LossAndAccuracy:
    truth = {name: clips.labels[name][rows] for name in logits}
    losses = [F.cross_entropy(logit, truth[name]) for name, logit in logits.items()]
    scores = {name: _share(logit.argmax(dim=1) == truth[name]) for name, logit in logits.items()}
    return torch.stack(losses).sum(), scores


def _matches(net: ShapesClip, clips: CrossedClips, rows: Tensor, seen: Tensor) -> LossAndAccuracy:
    """Compute the contrastive loss in which all captions of the same scene are positives."""
    scene = torch.stack([clips.labels[name][rows] for name in ("colour", "shape", "ground")], dim=1)
    same = (scene[:, None] == scene[None]).all(dim=2).float()
    similarity = (
        net.images(network_input(_one_frame(seen))) @ net.texts([clips.captions[row] for row in rows.tolist()]).T
    )
    logits, target = similarity * net.temperature.exp(), same / same.sum(dim=1, keepdim=True)
    loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    retrieved = same.gather(1, similarity.argmax(dim=1, keepdim=True))
    gap = (similarity[same > 0].mean() - similarity[same == 0].mean()).item()
    return loss, {"retrieval": _share(retrieved > 0), "gap": round(gap, 4)}


def _share(right: Tensor) -> float:
    return round(right.float().mean().item(), 4)


if __name__ == "__main__":
    main()
