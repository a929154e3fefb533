"""CLIP in Hugging Face format, from a local folder, for CLIPSIM and Fréchet distances of CLIP features."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional as F

from evaluation.clip_sources import Clip
from evaluation.extractors.base import ExtractorSettings, LoadedExtractor, TextExtractor
from evaluation.resize import check_frames
from mav_lightning.common.errors import UserError
from mav_lightning.common.hashing import file_sha256
from mav_lightning.common.transformers_library import transformers_library

__all__ = ["CLIP", "CLIPIdentity", "CLIPSettings", "clip_identity"]

WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that exists
_CONFIG = "config.json"
_PROCESSOR = ("preprocessor_config.json", "processor_config.json")
_TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "special_tokens_map.json",
    "added_tokens.json",
)  # fmt: skip
_IMAGES = 64  # images per forward pass
_CAPTIONS = 256


class CLIP(TextExtractor):
    """Any `transformers.CLIPModel`, such as ViT-B/32, B/16 or L/14; one row per frame.

    Frames are preprocessed with Pillow (bicubic, uint8, as in OpenAI's code), since torchvision rounds differently.
    Nothing is downloaded, and ``pytorch_model.bin`` is loaded with `weights_only`.

    CLIPSIM (GODIVA, 2021) is the mean cosine similarity of frames and caption, so it takes unit vectors;
    `torchmetrics.multimodal.CLIPScore` is 100 times that and at least 0. The Fréchet distance of CLIP features takes
    unnormalized features, as clean-fid's ``clip_vit_b_32`` does.

    References:
        Learning Transferable Visual Models From Natural Language Supervision (Radford et al., 2021).
        https://arxiv.org/abs/2103.00020
        The Role of ImageNet Classes in Fréchet Inception Distance (Kynkäänniemi et al., 2023), on CLIP features.
        https://arxiv.org/abs/2203.06026

    Args:
        folder: Folder that `save_pretrained` wrote: configuration, weights, tokenizer and image processor.
        normalize: Whether image features are scaled to unit length; text features always are.

    Raises:
        UserError: If the extra `clip` is not installed, or a file or weight is missing or unreadable.
    """

    def __init__(self, folder: Path, normalize: bool = True) -> None:
        super().__init__()
        self.normalize = normalize
        self.model, self._tokenizer, self._processor = _load(folder)
        self._length = int(self.model.config.text_config.max_position_embeddings)

    def prepare(self, clip: Clip) -> Tensor:
        """Resize, crop and normalize frames with the folder's image processor: (T, 3, 224, 224) float32."""
        check_frames(clip.pixels)
        seen = self._processor(images=list(clip.pixels), input_data_format="channels_last", return_tensors="pt")
        pixels: Tensor = seen["pixel_values"]
        return pixels

    def forward(self, prepared: Tensor) -> Tensor:
        """Compute features: (N, T, 3, 224, 224) → (N, T, d); unit vectors, unless `normalize` is False."""
        found = torch.cat([self._images(part) for part in prepared.flatten(0, 1).split(_IMAGES)])
        features: Tensor = (F.normalize(found, dim=-1) if self.normalize else found).unflatten(0, prepared.shape[:2])
        return features

    def texts(self, captions: Sequence[str]) -> Tensor:
        """Embed N captions as unit vectors, shape (N, d).

        Captions are truncated at the model's length (77 tokens) and keep their end token, whose features are used.
        `torchmetrics` cuts the end token off, so its scores of longer captions differ.
        """
        parts = [captions[start : start + _CAPTIONS] for start in range(0, len(captions), _CAPTIONS)]
        return F.normalize(torch.cat([self._texts(part) for part in parts]), dim=-1)

    def _images(self, pixels: Tensor) -> Tensor:
        found = self.model.vision_model(pixel_values=pixels)
        features: Tensor = self.model.visual_projection(found.pooler_output).float()
        return features

    def _texts(self, captions: Sequence[str]) -> Tensor:
        read = self._tokenizer(
            list(captions), padding=True, truncation=True, max_length=self._length, return_tensors="pt"
        ).to(self.model.device)
        found = self.model.text_model(input_ids=read["input_ids"], attention_mask=read["attention_mask"])
        features: Tensor = self.model.text_projection(found.pooler_output).float()
        return features


@dataclass(frozen=True)
class CLIPIdentity:
    """Hashes that identify the CLIP in a folder.

    Attributes:
        files: sha256 over names and bytes of every file that `CLIP` reads, independent of where the folder is.
        weights: sha256 of the weights file, as Hugging Face's site shows it.
    """

    files: str
    weights: str


def clip_identity(folder: Path) -> CLIPIdentity:
    """Hash the files that `CLIP` reads from a folder.

    Raises:
        UserError: If a file is missing.
    """
    digest, hashes = hashlib.sha256(), {}
    for path in _files(folder):
        hashes[path.name] = file_sha256(path)
        digest.update(f"{path.name}\0{hashes[path.name]}\n".encode())
    return CLIPIdentity(digest.hexdigest(), hashes[_weights(folder).name])


@dataclass(frozen=True)
class CLIPSettings(ExtractorSettings):
    """Settings of `CLIP`.

    Attributes:
        weights: Name of a folder in Hugging Face's format in the folder of weights, or a path.
        sha256: Expected sha256 of the weights file alone, as Hugging Face's site shows it. None accepts any.
        normalize: Whether image features are scaled to unit length.
    """

    kind = "clip"
    network = CLIP

    weights: str
    sha256: str | None = None
    normalize: bool = True

    def load(self, weights: Path) -> LoadedExtractor:
        """Check the weights' hash, then load the network.

        Raises:
            UserError: If the folder is missing, is not the one pinned, or cannot be read.
        """
        folder = weights / self.weights
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; `mav weights list` shows where to get it.")
        identity = clip_identity(folder)
        if self.sha256 not in (None, identity.weights):
            raise UserError(
                f"{folder}: the weights have sha256 {identity.weights}, not {self.sha256}; get them again, or pin the "
                "hash found if they are intended, since their numbers are not comparable."
            )
        return LoadedExtractor(CLIP(folder, self.normalize), identity.files)


def _files(folder: Path) -> list[Path]:
    """Return all files that are read, sorted by name."""
    names = [_CONFIG, _weights(folder).name]
    for needed, kinds in (("an image processor", _PROCESSOR), ("a tokenizer", _TOKENIZER)):
        there = [name for name in kinds if (folder / name).is_file()]
        if not there:
            raise UserError(f"{folder}: has no file of {needed}, such as {kinds[0]}; copy it from the same model.")
        names += there
    return [folder / name for name in sorted(names)]


def _weights(folder: Path) -> Path:
    there = [folder / name for name in WEIGHTS if (folder / name).is_file()]
    if not (folder / _CONFIG).is_file() or not there:
        raise UserError(
            f"{folder}: not a CLIP in Hugging Face's format; expected {_CONFIG} and {' or '.join(WEIGHTS)}, as "
            "`huggingface-cli download openai/clip-vit-base-patch32 --local-dir DIR` writes."
        )
    return there[0]


def _load(folder: Path) -> tuple[Any, Any, Any]:
    """Model in evaluation mode, tokenizer and image processor."""
    transformers, weights = transformers_library(), _weights(folder)
    _files(folder)
    # before transformers 5, the Pillow one had the plain name
    processor = getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor
    try:
        model, found = transformers.CLIPModel.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=weights.suffix == ".safetensors",
            weights_only=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        images = processor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, SafetensorError, UnpicklingError) as error:
        raise UserError(f"{folder}: not a readable CLIP ({str(error).splitlines()[0]}); download it again.") from error
    if lost := sorted(found["missing_keys"]):
        raise UserError(f"{folder}: {len(lost)} weights of the CLIP are missing, first `{lost[0]}`; download it again.")
    return model.eval().requires_grad_(False), tokenizer, images
