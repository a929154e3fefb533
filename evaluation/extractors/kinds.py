"""The extractors that a protocol can name: each kind's settings, and how it is loaded."""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from evaluation.extractors.base import Extractor
from evaluation.extractors.clip_vit import CLIP, clip_identity
from evaluation.extractors.i3d import EPSILON, I3D
from evaluation.extractors.shipped_weights import load_extractor, weights_sha256
from evaluation.extractors.torchscript import Inception, TorchScriptClassifier, TorchScriptI3D
from evaluation.extractors.tracks import Tracks
from evaluation.motion.extractor import Motion
from evaluation.resize import RESIZERS, Resize, resizer
from evaluation.weight_files import check_weights
from mav_lightning.common.errors import UserError

__all__ = ["KINDS", "ExtractorKind", "Loaded"]


@dataclass(frozen=True)
class Loaded:
    """An extractor, and the sha256 of what it was loaded from; empty for one without weights."""

    extractor: Extractor
    sha256: str


@dataclass(frozen=True)
class ExtractorKind:
    """Settings of one kind of extractor; all of them move its numbers.

    Attributes:
        kind: What protocols call it.
    """

    kind: ClassVar[str]

    @abstractmethod
    def load(self, weights: Path) -> Loaded:
        """Loads it, in evaluation mode.

        Args:
            weights: Folder of the weights that a user brings.

        Raises:
            UserError: Weights that are missing, or others than those pinned.
        """


@dataclass(frozen=True)
class _Shipped(ExtractorKind):
    """One of Shapes World's, whose weights are shipped."""

    sha256: str

    def load(self, weights: Path) -> Loaded:
        return Loaded(load_extractor(self.kind, self.sha256), weights_sha256(self.kind))


class _ShapesImage(_Shipped):
    kind = "shapes-image"


class _ShapesVideo(_Shipped):
    kind = "shapes-video"


class _ShapesClip(_Shipped):
    kind = "shapes-clip"


@dataclass(frozen=True)
class _Tracks(ExtractorKind):
    kind = "shapes-tracks"

    def load(self, weights: Path) -> Loaded:
        return Loaded(Tracks(), "")


@dataclass(frozen=True)
class _Motion(ExtractorKind):
    kind = "motion"

    def load(self, weights: Path) -> Loaded:
        return Loaded(Motion(), "")


@dataclass(frozen=True)
class _File(ExtractorKind):
    """A file that the user brings.

    Attributes:
        weights: Its name in the folder of weights, or a path.
        sha256: Of the file.
        git_blob: First digits of its id as a git blob.
        resize: A rule of `evaluation.resize`; None leaves it to the file.
        size: In pixels, of the rule.
    """

    weights: str
    sha256: str | None = None
    git_blob: str | None = None
    resize: str | None = None
    size: int = 224

    def load(self, weights: Path) -> Loaded:
        path = weights / self.weights
        sha256 = check_weights(path, self.sha256, self.git_blob)
        return Loaded(self.open(path), sha256)

    @abstractmethod
    def open(self, path: Path) -> Extractor:
        """Of the checked file."""

    def rule(self) -> Resize | None:
        return None if self.resize is None else resizer(self.resize, self.size)

    def needed_rule(self) -> Resize:
        if self.resize is None:
            raise UserError(f"extractor of `{self.weights}`: needs `resize`, one of {', '.join(RESIZERS)}.")
        return resizer(self.resize, self.size)


class _TorchScriptI3D(_File):
    kind = "i3d-torchscript"

    def open(self, path: Path) -> Extractor:
        return TorchScriptI3D(path, self.rule())


@dataclass(frozen=True)
class _I3D(_File):
    kind = "i3d"
    epsilon: float = EPSILON

    def open(self, path: Path) -> Extractor:
        return I3D.from_file(path, self.needed_rule(), self.epsilon)


@dataclass(frozen=True)
class _Classifier(_File):
    kind = "classifier-torchscript"
    logits: bool = False

    def open(self, path: Path) -> Extractor:
        return TorchScriptClassifier(path, self.rule(), self.logits)


@dataclass(frozen=True)
class _Inception(_File):
    kind = "inception"
    size: int = 299

    def open(self, path: Path) -> Extractor:
        return Inception(path, self.needed_rule())


@dataclass(frozen=True)
class _CLIP(ExtractorKind):
    """A folder in Hugging Face's format.

    Attributes:
        weights: Its name in the folder of weights, or a path.
        sha256: Of the file of the weights alone, as Hugging Face's site shows it.
        normalise: See `evaluation.extractors.clip_vit.CLIP`.
    """

    kind = "clip"
    weights: str
    sha256: str | None = None
    normalise: bool = True

    def load(self, weights: Path) -> Loaded:
        folder = weights / self.weights
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; `mav weights list` tells where to get it.")
        identity = clip_identity(folder)
        if self.sha256 not in (None, identity.weights):
            raise UserError(
                f"{folder}: the weights have sha256 {identity.weights}, not {self.sha256}; get them again, or name "
                "the hash found if they are meant, since their numbers will not compare."
            )
        return Loaded(CLIP(folder, self.normalise), identity.files)


KINDS: dict[str, type[ExtractorKind]] = {
    own.kind: own
    for own in (
        _ShapesImage, _ShapesVideo, _ShapesClip, _Tracks, _Motion, _TorchScriptI3D, _I3D, _Classifier, _Inception, _CLIP
    )
}  # fmt: skip
