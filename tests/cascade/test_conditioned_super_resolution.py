"""Super-resolution that reads the image embedding, if it was trained with it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from doll_cascade import NODES, pictures

from mav_lightning.cascade.cascade import Cascade, TrainedNetwork
from mav_lightning.cascade.sampling import Sampling
from mav_lightning.cascade.video_pipeline import Pipeline
from mav_lightning.common.errors import UserError
from mav_lightning.config import instantiate, load_config
from mav_lightning.runs.execute import _trained_for

SAMPLING = Sampling(size=8, frames=3, low_factor=2, steps=2, batch_size=1)


@pytest.fixture(scope="module")
def plain(cascade_folder: Path) -> Cascade:
    return Pipeline.from_pretrained(cascade_folder).cascade


def sr_low(conditioned: bool, cond_channels: int = 8) -> TrainedNetwork[Any]:
    node = {**NODES["sr_low"], "net": {**NODES["sr_low"]["net"], "cond_channels": cond_channels}}
    torch.manual_seed(0)
    network = instantiate(node)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return TrainedNetwork(network, conditioned=conditioned)


def with_embedding(plain: Cascade, scale: float, conditioned: bool) -> np.ndarray:
    """A clip super-resolved with the embeddings of `plain`, scaled."""
    pipeline = Pipeline(replace(plain, sr_low=sr_low(conditioned)), SAMPLING)
    encode = pipeline.cascade.clip.network.encode_image
    pipeline.cascade.clip.network.encode_image = lambda x: scale * encode(x)  # type: ignore[method-assign]
    try:
        return pipeline.super_resolve(pictures(1, 3), 8.0, 0)
    finally:
        pipeline.cascade.clip.network.encode_image = encode  # type: ignore[method-assign]


def test_the_embedding_matters_only_where_it_was_learned(plain: Cascade) -> None:
    assert np.array_equal(with_embedding(plain, 1.0, False), with_embedding(plain, -1.0, False))
    assert not np.array_equal(with_embedding(plain, 1.0, True), with_embedding(plain, -1.0, True))


def test_a_text_conditions_super_resolution_by_the_priors_embedding(plain: Cascade) -> None:
    with_it, without = (
        Pipeline(replace(plain, sr_low=sr_low(conditioned)), SAMPLING)("a red circle", 8.0, 0)
        for conditioned in (True, False)
    )
    assert with_it.shape == (1, 3, 16, 16, 3) and not np.array_equal(with_it, without)


def test_an_encoder_of_another_length_is_rejected(plain: Cascade) -> None:
    with pytest.raises(UserError, match="sr_low: takes image embeddings of length 4, and those of `clip` have 8"):
        replace(plain, sr_low=sr_low(True, cond_channels=4))


@pytest.mark.parametrize(("stage", "conditioned"), [("sr_low_tiny", False), ("sr_low_conditioned_tiny", True)])
def test_a_stage_records_whether_its_network_is_conditioned(stage: str, conditioned: bool) -> None:
    assert _trained_for(load_config(f"stage/{stage}.yaml"))["conditioned"] is conditioned
