"""Video transformers in Hugging Face format, from a local folder: VideoMAE and V-JEPA 2.

Their features see motion better than those of I3D (Ge et al., 2024; Luo et al., 2024), so newer distances use them.
"""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from evaluation.clip_sources import Clip
from evaluation.extractors.base import ClipFeatures
from evaluation.extractors.pretrained import load_pretrained
from evaluation.extractors.pretrained_transformer import Levels, PretrainedTransformer, PretrainedTransformerSettings
from evaluation.resize import Resize
from mav_lightning.common.errors import UserError

__all__ = ["VideoTransformer", "VideoTransformerSettings"]

_KINDS = ("videomae", "vjepa2")


class VideoTransformer(PretrainedTransformer, ClipFeatures):
    """One feature vector per clip of a VideoMAE or V-JEPA 2.

    For a fine-tuned classifier it is the input of the last layer, as in content-debiased FVD and JEDi; for a model
    without a classifier it is the mean over tokens.

    References:
        On the Content Bias in Fréchet Video Distance (Ge et al., 2024). https://arxiv.org/abs/2404.12391
        Beyond FVD: Enhanced Evaluation Metrics for Video Generation Quality (Luo et al., 2024).
        https://arxiv.org/abs/2410.05203

    Args:
        folder: Folder that `save_pretrained` wrote: ``config.json`` and ``model.safetensors``.
        resize: Resizing of frames to the size of the model's input.
        mean: Mean of red, green and blue that is subtracted, of values in [0, 1].
        std: Standard deviation of red, green and blue to divide by.

    Raises:
        UserError: If the extra `clip` is not installed, the folder holds another model, or a weight is missing.
    """

    def __init__(self, folder: Path, resize: Resize, mean: Levels, std: Levels) -> None:
        super().__init__(load_pretrained(folder, _KINDS, "ForVideoClassification"), resize, mean, std)
        if hasattr(self.model, "classifier"):
            self.model.classifier = nn.Identity()

    def prepare(self, clip: Clip) -> Tensor:
        """Resize frames: (T, 3, size, size) float32 in [0, 255].

        Raises:
            UserError: If the model takes another number of frames.
        """
        wanted = getattr(self.model.config, "num_frames", len(clip.pixels))  # of VideoMAE; V-JEPA 2 takes any number
        if len(clip.pixels) != wanted:
            raise UserError(
                f"clip `{clip.id}`: the model takes {wanted} frames, got {len(clip.pixels)}; use a protocol with that "
                "many."
            )
        return self.resize(clip.pixels)

    def forward(self, prepared: Tensor) -> Tensor:
        """Compute features: (N, T, 3, size, size) in [0, 255] → (N, 1, d)."""
        clips = self.normalized(prepared)
        name = "pixel_values_videos" if self.model.config.model_type == "vjepa2" else "pixel_values"
        if hasattr(self.model, "classifier"):
            features: Tensor = self.model(**{name: clips}).logits
        else:
            tokens = self.model.get_vision_features(clips) if name != "pixel_values" else self.model(clips)[0]
            features = tokens.mean(dim=1)
        return features.float()[:, None]


@dataclass(frozen=True)
class VideoTransformerSettings(PretrainedTransformerSettings):
    """Settings of `VideoTransformer`."""

    kind = "video-transformer"
    network = VideoTransformer
