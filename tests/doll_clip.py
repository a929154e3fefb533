"""A CLIP in Hugging Face's format, small enough to be made in a test."""

from pathlib import Path

import pytest
import torch

__all__ = ["write_doll_clip"]

transformers = pytest.importorskip("transformers")


def write_doll_clip(folder: Path) -> Path:
    """Write a CLIP with random weights and a vocabulary of letters, as `save_pretrained` leaves it."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    transformers.CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[]).save_pretrained(folder)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**small, "vocab_size": len(tokens), "max_position_embeddings": 24, "bos_token_id": 0, "eos_token_id": 1}
    vision = {**small, "image_size": 24, "patch_size": 8}
    torch.manual_seed(0)
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)
    transformers.CLIPModel(config).eval().save_pretrained(folder)
    return folder
