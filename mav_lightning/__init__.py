"""Make-A-Video in PyTorch Lightning: train, sample, evaluate and ablate.

Importing this package costs nothing: submodules are imported where they are used.
"""

__version__ = "0.1.0"
