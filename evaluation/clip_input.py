"""Base of torchmetrics classes that take clips: everything between pixels and features, as a protocol specifies it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torchmetrics
from numpy.typing import NDArray
from torch import Tensor

from evaluation.clip_sources import Clip, Frames
from evaluation.extractors.base import Extractor
from evaluation.metrics.base import Metric
from evaluation.protocol import Protocol, load_protocol
from evaluation.resize import ResizeStep, resize_frames
from evaluation.weight_files import weights_folder
from mav_lightning.common.arguments import check_argument
from mav_lightning.common.errors import UserError
from mav_lightning.common.schema import PositiveInt

__all__ = ["ClipMetric", "PixelClips", "one_per_clip"]

PixelClips = Tensor | NDArray[np.uint8]
"""N clips, uint8, shape (N, 3, T, H, W) or (N, T, H, W, 3)."""


class ClipMetric(torchmetrics.Metric):
    """Base of metrics of clips: everything between pixels and features.

    The extractor is no part of the metric's state: it is in no checkpoint, and moves to the metric's device.

    Args:
        extractor: Network or measurement that turns clips into features.
        frames: Frames of a clip that are measured, from its start. None takes all.
        resize: Steps by which frames are resized before the extractor resizes them.
        batch: Clips that the extractor processes at once; it can change the last digits of results.
        kwargs: Arguments of the metric and of `torchmetrics.Metric`.

    Attributes:
        settings: Class of the metric in a protocol.
        takes: Class of extractors that the metric takes.
    """

    settings: ClassVar[type[Metric]]
    takes: ClassVar[type[Extractor]]

    def __init__(
        self,
        extractor: Extractor,
        *,
        frames: PositiveInt | None = None,
        resize: Sequence[ResizeStep] = (),
        batch: PositiveInt = 16,
        **kwargs: Any,
    ) -> None:
        if not isinstance(extractor, self.takes):
            raise UserError(f"must be a {self.takes.__name__}, got {extractor!r}.", argument="extractor")
        check_argument("frames", frames, PositiveInt | None)
        check_argument("batch", batch, PositiveInt)
        super().__init__(**kwargs)
        self._extractor = (extractor,)  # in a tuple, since modules would enter state dicts
        self.frames, self.resize, self.batch = frames, tuple(resize), batch

    @classmethod
    def from_protocol(
        cls,
        protocol: Protocol | str | Path,
        *,
        metric: str | None = None,
        weights: Path | None = None,
        force: bool = False,
        **kwargs: Any,
    ) -> Self:
        """Build the metric that a protocol specifies, with its extractor, frames, resizing and numbers of clips.

        Which real videos are taken, and where their clips start, is up to the caller; `evaluation.evaluate` follows the
        protocol in that, too.

        Args:
            protocol: A protocol, the name of a shipped one, or the path of a ``.yaml`` file.
            metric: Name of the metric in the protocol. None if the protocol has one of this class.
            weights: Folder of extractor weights. None: see `evaluation.weight_files.weights_folder`.
            force: Whether to compute with other numbers of clips than the protocol's.
            kwargs: Arguments of `torchmetrics.Metric`.

        Raises:
            UserError: If the protocol has no such metric, or weights are missing or not those pinned.
        """
        found = protocol if isinstance(protocol, Protocol) else load_protocol(protocol)
        name = cls._find(found, metric)
        (extractor,) = found.metrics[name].extractors().values()
        loaded = found.extractors[extractor].load(weights_folder(weights))
        own = {key: value for key, value in vars(found.metrics[name]).items() if key not in found.metrics[name].roles}
        counts = {"generated": found.generated.clips, "real": found.real.clips if found.real else None}
        required = {side: count for side, count in counts.items() if count is not None}
        own |= {"name": name, "required": required, "force": force}
        return cls(loaded.extractor, frames=found.frames, resize=found.resize, batch=found.batch, **own, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Add clips as `update` does and return NaN: the metric has no value for a single batch, see `compute`."""
        self.update(*args, **kwargs)
        undefined = torch.tensor(float("nan"), dtype=torch.float64)
        self._forward_cache: Any = undefined  # what Lightning logs on a step
        return undefined

    @torch.inference_mode()
    def embed(self, clips: PixelClips, ids: Sequence[str] | None = None) -> tuple[Tensor, list[str]]:
        """Compute features of clips.

        Args:
            clips: N clips, uint8, shape (N, 3, T, H, W) or (N, T, H, W, 3).
            ids: Id of each clip. None takes the hash of its pixels, so that equal clips count once.

        Returns:
            Features, shape (N, rows, d), on the metric's device; and the ids.

        Raises:
            UserError: If clips are not uint8 of such a shape or have too few frames, or ids are not one per clip.
        """
        pixels = _channels_last(clips)
        if self.frames is not None and pixels.shape[1] < self.frames:
            raise UserError(f"must have {self.frames} frames or more, got {pixels.shape[1]}.", argument="clips")
        hashed = [hashlib.sha256(clip.tobytes()).hexdigest() for clip in pixels] if ids is None else None
        names = hashed or one_per_clip("ids", ids or (), len(pixels))
        extractor, rows = self._extractor[0].to(self.device).eval(), []
        for start in range(0, len(pixels), self.batch):
            part = slice(start, start + self.batch)
            prepared = [self._prepare(name, clip) for name, clip in zip(names[part], pixels[part], strict=True)]
            padded = torch.stack(prepared + prepared[-1:] * (self.batch - len(prepared)))
            rows.append(extractor(padded.to(self.device))[: len(prepared)])
        return torch.cat(rows), names

    def _prepare(self, name: str, frames: Frames) -> Tensor:
        seen = resize_frames(np.ascontiguousarray(frames[: self.frames]), self.resize)
        return self._extractor[0].prepare(Clip(name, seen, fps=1.0))

    @classmethod
    def _find(cls, protocol: Protocol, metric: str | None) -> str:
        """Return the name of the protocol's metric of this class."""
        fitting = [
            name
            for name, one in protocol.metrics.items()
            if isinstance(one, cls.settings)
            and all(issubclass(protocol.extractors[own].network, cls.takes) for own in one.extractors().values())
        ]
        if metric in fitting:
            return str(metric)
        if metric is None and len(fitting) == 1:
            return fitting[0]
        raise UserError(
            f"protocol {protocol.name} has {' and '.join(fitting) or 'no metric'} for {cls.__name__}"
            + (f", not `{metric}`." if metric is not None else "; name one." if fitting else "; use another protocol."),
            argument="metric",
        )


def one_per_clip(argument: str, texts: Sequence[str], clips: int) -> list[str]:
    """Check that there is one text per clip, and return the texts.

    Raises:
        UserError: If there are more or fewer, or they are one text or no texts.
    """
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise UserError(f"must be a list of texts, one per clip, got {texts!r:.60}.", argument=argument)
    if len(texts) != clips:
        raise UserError(f"must be one per clip: got {len(texts)} for {clips} clips.", argument=argument)
    return list(texts)


def _channels_last(clips: PixelClips) -> NDArray[np.uint8]:
    """Return clips as an array (N, T, H, W, 3)."""
    try:
        found: NDArray[Any] = clips.detach().cpu().numpy() if isinstance(clips, Tensor) else np.asarray(clips)
    except ValueError as error:
        raise UserError(
            "must all have the same size and number of frames; pass others in a call of their own.", argument="clips"
        ) from error
    if found.dtype != np.uint8:
        raise UserError(
            f"must be uint8 in 0..255, got {found.dtype}; convert x in [-1, 1] by "
            "((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).",
            argument="clips",
        )
    first, last = (found.ndim == 5 and 0 not in found.shape and found.shape[axis] == 3 for axis in (1, -1))
    if first == last:
        either = ", which could be either" if first else ""
        raise UserError(
            f"must have shape (N, 3, T, H, W) or (N, T, H, W, 3), got {found.shape}{either}.", argument="clips"
        )
    return np.moveaxis(found, 1, -1) if first else found
