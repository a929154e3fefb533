"""The Shapes World extractors: small networks, trained where shape and motion tell nothing of one another."""

import re
from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from evaluation.clip_sources import Clip
from evaluation.extractors.base import Extractor, TextExtractor
from evaluation.resize import check_frames
from mav_lightning.common.pixels import dequantize
from mav_lightning.common.shapes_world.laws import LAWS
from mav_lightning.common.shapes_world.scene import COLOURS, GROUNDS, SHAPES

__all__ = ["APPEARANCE", "MOTIONS", "ShapesClip", "ShapesImage", "ShapesVideo", "network_input"]

INPUT_SIZE = 32  # pixels; smaller and larger frames are resized
FEATURES = 32  # few, so that a hundred clips determine their covariance
APPEARANCE: dict[str, Sequence[str]] = {"colour": tuple(COLOURS), "shape": SHAPES, "ground": GROUNDS}
# "none": still, shuffled, jumping. With it, the features have to notice motion that no law makes.
MOTIONS = (*LAWS, "none")


def network_input(frames: Tensor) -> Tensor:
    """Resizes and scales: (N, H, W, 3) uint8 → (N, 3, 32, 32) float in [-1, 1]; bilinear, antialiased."""
    pixels = dequantize(rearrange(frames, "... h w c -> ... c h w"))
    if pixels.shape[-2:] == (INPUT_SIZE, INPUT_SIZE):
        return pixels
    return F.interpolate(pixels, size=(INPUT_SIZE, INPUT_SIZE), mode="bilinear", antialias=True, align_corners=False)


class _ShapesExtractor(Extractor):
    """Sees frames of 32 pixels."""

    def prepare(self, clip: Clip) -> Tensor:
        """(T, 3, 32, 32) in [-1, 1]."""
        check_frames(clip.pixels)
        return network_input(torch.from_numpy(clip.pixels))


class ShapesImage(_ShapesExtractor):
    """``shapes-image``: features of frames, for ``shapes-fid`` and appearance accuracy."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = _image_trunk()
        self.heads = _heads(APPEARANCE)

    def forward(self, prepared: Tensor) -> Tensor:
        """Features: (N, T, 3, 32, 32) → (N, T, 32)."""
        return self.images(prepared.flatten(0, 1)).unflatten(0, prepared.shape[:2])

    def images(self, frames: Tensor) -> Tensor:
        """Features: (N, 3, 32, 32) → (N, 32)."""
        return self.trunk(frames)

    def classify(self, features: Tensor) -> dict[str, Tensor]:
        """Logits over `APPEARANCE`, by attribute: (N, 32) → (N, classes)."""
        return {name: head(features) for name, head in self.heads.items()}


class ShapesVideo(_ShapesExtractor):
    """``shapes-video``: features of clips, for ``shapes-fvd``. It is not told the frame rate.

    Every frame gives an appearance and a few key points (expected coordinates under a softmax over places), since
    pooling alone loses where things are. The appearance leaves its mean and mean deviation over time; the key points
    go through convolutions along time, apart from it, as their small steps would drown.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv2d(3, 16), _conv2d(16, 16, stride=1))  # (N, 16, 16, 16)
        self.points = nn.Conv2d(16, 8, 1)
        self.spread = nn.BatchNorm1d(2 * 8)  # an untrained softmax is flat: its expected places hardly differ
        self.appearance = nn.Sequential(
            _conv2d(16, 32), _conv2d(32, 64), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(64, 32)
        )
        self.time = nn.Sequential(*_conv1d(2 * 8, 64), *_conv1d(64, 64), *_conv1d(64, 64))
        self.features = nn.Linear(2 * 32 + 2 * 64, FEATURES)
        self.heads = _heads(APPEARANCE | {"motion": MOTIONS})

    def forward(self, prepared: Tensor) -> Tensor:
        """Features: (N, T, 3, 32, 32), any T → (N, 1, 32)."""
        return self.features_and_centres(prepared)[0][:, None]

    def features_and_centres(self, prepared: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, 32), and the first key point, (N, T, 2) in widths, which training ties to the object."""
        clips = prepared.shape[:2]
        maps = self.stem(prepared.flatten(0, 1))
        looks, places = self.appearance(maps).unflatten(0, clips), _expected_places(self.points(maps))
        steps = self.time(self.spread(places.flatten(1)).unflatten(0, clips).transpose(1, 2))
        unrest = (looks - looks.mean(dim=1, keepdim=True)).abs()
        pooled = (looks.mean(dim=1), unrest.mean(dim=1), steps.mean(dim=2), steps.amax(dim=2))
        return self.features(torch.cat(pooled, dim=1)), places[:, 0].unflatten(0, clips)

    def classify(self, features: Tensor) -> dict[str, Tensor]:
        """Logits over `APPEARANCE` and `MOTIONS`, by attribute: (N, 32) → (N, classes)."""
        return {name: head(features) for name, head in self.heads.items()}


class ShapesClip(_ShapesExtractor, TextExtractor):
    """``shapes-clip``: frames and captions in one space, for ``shapes-clipsim``.

    It never conditions a generator: a similarity measured by the network that a sample was made for flatters it.

    Args:
        words: The vocabulary; other words are not heard.
    """

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__()
        self.words = tuple(words)
        self.trunk = _image_trunk()
        self.embedding = nn.EmbeddingBag(len(words) + 1, FEATURES, mode="mean", padding_idx=len(words))
        self.text = nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, FEATURES))
        self.temperature = nn.Parameter(torch.tensor(2.3))  # log of the logits' scale, about 10

    def forward(self, prepared: Tensor) -> Tensor:
        """Unit vectors: (N, T, 3, 32, 32) → (N, T, 32)."""
        return self.images(prepared.flatten(0, 1)).unflatten(0, prepared.shape[:2])

    def images(self, frames: Tensor) -> Tensor:
        """Unit vectors: (N, 3, 32, 32) → (N, 32)."""
        return F.normalize(self.trunk(frames), dim=-1)

    def texts(self, captions: Sequence[str]) -> Tensor:
        """Unit vectors of N captions: (N, 32)."""
        index = {word: number for number, word in enumerate(self.words)}
        heard = [[index[word] for word in split_words(text) if word in index] for text in captions]
        longest = max((len(words) for words in heard), default=0) or 1
        padded = [words + [len(index)] * (longest - len(words)) for words in heard]
        device = self.embedding.weight.device
        return F.normalize(self.text(self.embedding(torch.tensor(padded, device=device))), dim=-1)


def split_words(text: str) -> list[str]:
    """Lower-case words.

    Example:
        >>> split_words("Red circle, dark ground")
        ['red', 'circle', 'dark', 'ground']
    """
    return re.findall(r"[a-z]+", text.lower())


def _heads(classes: dict[str, Sequence[str]]) -> nn.ModuleDict:
    return nn.ModuleDict({name: nn.Linear(FEATURES, len(names)) for name, names in classes.items()})


def _image_trunk() -> nn.Sequential:
    layers = (_conv2d(3, 24, stride=1), _conv2d(24, 32), _conv2d(32, 48), _conv2d(48, 64))  # (N, 64, 4, 4)
    # the maximum over places, since a mean would drown the one object in ground
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(64, FEATURES))


def _conv2d(inputs: int, outputs: int, stride: int = 2) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def _conv1d(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv1d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()


def _expected_places(maps: Tensor) -> Tensor:
    """Mean x and y, in widths, under the softmax of each map: (N, K, H, W) → (N, K, 2)."""
    weight = maps.flatten(2).softmax(dim=2).unflatten(2, maps.shape[2:])
    y, x = ((torch.arange(side, device=maps.device) + 0.5) / side for side in maps.shape[2:])
    return torch.stack([weight.sum(dim=2) @ x, weight.sum(dim=3) @ y], dim=2)
