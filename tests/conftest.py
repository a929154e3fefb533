"""Shared set-up: torchvision's operators declared before anything imports lightning, and one thread per process."""

import torch

from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

ensure_torchvision_imports()
torch.set_num_threads(1)
