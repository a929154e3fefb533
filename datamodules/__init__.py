"""Shards on disk to typed batches, independent of models and metrics.

A dataset is a folder of WebDataset tar shards with one ``index.safetensors`` next to them. `shapes_world_shards` and
`packing` write such folders, `index` scans them, `lint` and `contact_sheet` inspect them, and the data modules
`ImageData`, `ClipData` and `JointData` train on them.
"""

from mav_lightning.common.torchvision_hook import add_import_hook

add_import_hook()
