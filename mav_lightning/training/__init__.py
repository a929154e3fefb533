"""Training that survives: exact continuation after any kill, EMA, atomic checkpoints, a guard against non-finite steps.

Everything here is an ordinary Lightning callback or plugin; `mav_lightning.training.fit.fit` puts them together.
"""

from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

ensure_torchvision_imports()
