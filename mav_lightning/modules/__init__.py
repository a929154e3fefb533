"""LightningModules: networks and losses brought together, one module per kind of training."""

from mav_lightning.common.shadowing import check_not_shadowed
from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

check_not_shadowed()
ensure_torchvision_imports()
