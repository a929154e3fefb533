"""Low-rank adapters of spatial attention: cheap fine-tuning of layers that are otherwise frozen."""

from torch import Tensor, nn

from mav_lightning.common.diffusers_library import diffusers_class

__all__ = ["LowRankLinear", "add_lora"]


class LowRankLinear(nn.Module):
    """A trained linear layer plus a low-rank one that starts at zero.

    References:
        LoRA (Hu et al., 2022), §4.1, with α equal to the rank. https://arxiv.org/abs/2106.09685

    Args:
        spatial: The trained layer.
        rank: Rank of the update of its weight.
    """

    def __init__(self, spatial: nn.Linear, rank: int) -> None:
        super().__init__()
        self.spatial = spatial
        self.lora_down = nn.Linear(spatial.in_features, rank, bias=False)
        self.lora_up = nn.Linear(rank, spatial.out_features, bias=False)
        nn.init.zeros_(self.lora_up.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map features (..., C) to (..., D)."""
        out: Tensor = self.spatial(x) + self.lora_up(self.lora_down(x))
        return out

    def merged(self) -> Tensor:
        """Return the weight of the one linear layer that equals both, shape (D, C)."""
        return self.spatial.weight + self.lora_up.weight @ self.lora_down.weight


def add_lora(unet: nn.Module, rank: int) -> None:
    """Add an adapter to every linear layer of the attention of a network of diffusers.

    Args:
        unet: The network, modified in place.
        rank: Rank of the adapters.
    """
    attention = diffusers_class("diffusers.models.attention_processor", "Attention")
    for module in [module for module in unet.modules() if isinstance(module, attention)]:
        for parent in (module, module.to_out):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.Linear):
                    parent.add_module(name, LowRankLinear(child, rank))
