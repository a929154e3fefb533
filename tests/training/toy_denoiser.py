"""The toy of `toy_training` with a denoiser in it, as FSDP2 needs one: blocks in a list, and layers outside of them."""

import os
from typing import Any

import torch
from torch import Tensor, nn
from toy_training import FEATURES, ToyBatch

from mav_lightning.modules.base import NetworkModule
from mav_lightning.modules.muon import Muon


class ToyBlock(nn.Module):
    """A residual block of `width` hidden units, not a multiple of two processes if it is odd."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(FEATURES, width), nn.SiLU(), nn.Dropout(0.3), nn.Linear(width, FEATURES))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.layers(x)
        return out


class ToyNet(nn.Module):
    """Two blocks, a layer with a single row, of which the second of two processes has none, and a frozen one."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([ToyBlock(7), ToyBlock(8)])
        self.gain = nn.Linear(FEATURES, 1)
        self.frozen = nn.Linear(FEATURES, FEATURES).requires_grad_(False)
        self.register_buffer("timesteps", torch.arange(1000))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.frozen(x)
        for block in self.blocks:
            hidden = block(hidden)
        out: Tensor = hidden * self.gain(x)
        return out


class ToyDenoiser(nn.Module):
    """Wraps the network."""

    def __init__(self) -> None:
        super().__init__()
        self.net = ToyNet()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out


class ToyDenoising(NetworkModule):
    """Trains a `ToyDenoiser` with noise and dropout, as `ToyModule` does its layers."""

    network_name = "denoiser"

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.denoiser = ToyDenoiser()

    def training_step(self, batch: ToyBatch, batch_idx: int) -> Tensor:
        loss = self._loss(batch)
        self.log("loss/train", loss, batch_size=len(batch))
        return loss

    def validation_step(self, batch: ToyBatch, batch_idx: int) -> None:
        self.log("loss/val", self._loss(batch), batch_size=len(batch), sync_dist=True)

    def temporal_activity(self) -> dict[str, float]:
        return {"gain": float(self.denoiser.net.gain.weight.detach().abs().sum())}

    def make_optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=0.01)

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = self.make_optimizer()
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 10))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _loss(self, batch: ToyBatch) -> Tensor:
        noise = torch.randn(batch.x.shape)
        return (self.denoiser(batch.x + noise) + noise).square().mean()


class MuonAndOtherWeightsPerRank(ToyDenoising):
    """Trains with Muon; has other initial weights on every rank, which the first rank's replace."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(int(os.environ.get("LOCAL_RANK", "0")))
        self.denoiser = ToyDenoiser()

    def make_optimizer(self) -> torch.optim.Optimizer:
        return Muon([p for p in self.parameters() if p.requires_grad])


class TrainsOutsideOfItsNetwork(ToyDenoising):
    """Has a weight that is trained and not part of the denoiser."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
