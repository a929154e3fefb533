"""Make-A-Video in PyTorch Lightning: train, sample, evaluate and ablate.

Importing this package costs nothing: submodules are imported where they are used.
"""

from mav_lightning.common.torchvision_hook import add_import_hook

add_import_hook()

__version__ = "0.1.0"
