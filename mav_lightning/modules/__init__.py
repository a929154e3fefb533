"""LightningModules: networks and losses brought together, one module per kind of training."""

from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

ensure_torchvision_imports()
