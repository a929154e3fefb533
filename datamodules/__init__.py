"""Shards on disk → typed batches. Knows nothing of models or metrics.

A data set is a folder of WebDataset tar shards with one ``index.json`` beside them. `shapes_world` and `pack` write
such folders, `index` scans them, `lint` and `show` look into them, `ImageData` and `ClipData` train on them.
"""

from mav_lightning.common.torchvision_shim import ensure_torchvision_imports

ensure_torchvision_imports()  # before anything here imports lightning
