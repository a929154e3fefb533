"""FSDP2 as a Lightning strategy: DDP whose processes divide weights, gradients, optimizer states and average."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.strategies import DDPStrategy, StrategyRegistry
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard
from torch.utils._pytree import tree_map_only

from mav_lightning.common.errors import UserError
from mav_lightning.modules.base import NetworkModule
from mav_lightning.networks.checkpoint_parts import part_path, replace_shards, shard_entry
from mav_lightning.networks.checkpoint_reader import read_checkpoint_file

__all__ = ["FSDP2", "FSDP2_NAME", "network_to_shard"]

FSDP2_NAME = "fsdp2"  # of `trainer.strategy`


class FSDP2(DDPStrategy):
    """Train like DDP, with every weight sharded over all processes, and whole only while its block computes.

    Each block of the denoiser's network is sharded by itself, and what is outside of blocks together. Optimizers,
    `EMA` and clipping work on the shards. Each process writes its shards to its own file of a checkpoint, and resumes
    from that file. Lightning's `ModelParallelStrategy` is not the base, as a kill can leave half of its checkpoints.

    References:
        ZeRO (Rajbhandari et al., 2020), stage 3. https://arxiv.org/abs/1910.02054
        https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
    """

    def setup_environment(self) -> None:
        """Connect the processes, and shard the network before a checkpoint is loaded into it."""
        super().setup_environment()
        module = self.lightning_module
        assert module is not None
        network = network_to_shard(module)
        _synchronize(module, self.root_device)
        self._mesh = init_device_mesh(self.root_device.type, (self.world_size,))
        # gathered in bfloat16, as autocast would keep a whole copy of the weights for the backward pass
        mixed = self.precision_plugin.precision == "bf16-mixed"
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
        options: dict[str, Any] = {"mesh": self._mesh, "mp_policy": policy if mixed else MixedPrecisionPolicy()}
        for part in [*_blocks(network), network]:
            fully_shard(part, reshard_after_forward=True, **options)

    def configure_ddp(self) -> None:
        """Leave the module as it is: hooks of its sharded parts exchange weights and gradients."""

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None) -> None:
        """Write this process's part of a checkpoint; see `AtomicCheckpointIO.save_checkpoint`."""
        part = tree_map_only(DTensor, lambda tensor: shard_entry(tensor.to_local(), tensor.shape), checkpoint)
        path = part_path(Path(filepath), self.global_rank, self.world_size)
        self.checkpoint_io.save_checkpoint(part, path, storage_options=storage_options)

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Read this process's part of a checkpoint."""
        path = part_path(Path(checkpoint_path), self.global_rank, self.world_size)
        loaded: dict[str, Any] = replace_shards(read_checkpoint_file(path), self._sharded)
        return loaded

    def teardown(self) -> None:
        """Release what Lightning holds; the weights stay on their device, where the result is gathered from them."""
        assert self.cluster_environment is not None and self.accelerator is not None
        self.cluster_environment.teardown()
        self.precision_plugin.teardown()
        self.accelerator.teardown()
        self.checkpoint_io.teardown()

    def _sharded(self, shard: Tensor, shape: list[int]) -> DTensor:
        stride = torch.empty(shape, device="meta").stride()
        return DTensor.from_local(
            shard, self._mesh, [Shard(0)], run_check=False, shape=torch.Size(shape), stride=stride
        )


StrategyRegistry.register(FSDP2_NAME, FSDP2, description="DDP with weights sharded by torch's `fully_shard`")


def network_to_shard(module: nn.Module) -> nn.Module:
    """Return the denoiser that a module trains, which holds all of its trained weights.

    Args:
        module: The module that is trained.

    Raises:
        UserError: If it trains no denoiser, or further weights.
    """
    network = module.network if isinstance(module, NetworkModule) else None
    if network is None or not isinstance(getattr(network, "net", None), nn.Module):
        raise UserError(
            f"trainer.strategy={FSDP2_NAME}: shards the network of a denoiser, and {type(module).__name__} trains "
            "none; use ddp."
        )
    inside = set(network.parameters())
    for name, weight in module.named_parameters():
        if weight.requires_grad and weight not in inside:
            raise UserError(
                f"trainer.strategy={FSDP2_NAME}: shards the denoiser, and `{name}` is trained outside of it; use ddp."
            )
    return network


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the outermost layers with weights that are kept in lists: residual blocks, transformer layers."""
    lists = (nn.ModuleList, nn.ModuleDict)
    for child in module.children():
        if isinstance(module, nn.ModuleList) and not isinstance(child, lists):
            if any(True for _ in child.parameters()):
                yield child
        else:
            yield from _blocks(child)


@torch.no_grad()
def _synchronize(module: nn.Module, device: torch.device) -> None:
    """Give all processes the initial weights of the first one, as DDP does."""
    for tensor in module.state_dict().values():
        sent = tensor.to(device)
        torch.distributed.broadcast(sent, 0)
        tensor.copy_(sent)
