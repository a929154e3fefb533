"""Fault-tolerant training: exact resuming after interruption, EMA, atomic checkpoints, a guard for non-finite steps.

Everything here is an ordinary Lightning callback or plugin; `mav_lightning.training.fit.fit` combines them.
"""

from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

ensure_torchvision_imports()
