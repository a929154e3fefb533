"""Networks of other projects as decoders, through thin adapters. Needs the extra ``baselines``."""

from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

ensure_torchvision_imports()  # diffusers imports torchvision
