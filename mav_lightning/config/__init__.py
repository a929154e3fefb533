"""Configs: a typed trunk whose leaves describe objects, checked as a whole before anything is built."""

from mav_lightning.config.loading import check, find_config, load_config, parse_override, read_yaml, resolve_needs
from mav_lightning.config.nodes import instantiate
from mav_lightning.config.trunk import Trunk

__all__ = [
    "Trunk",
    "check",
    "find_config",
    "instantiate",
    "load_config",
    "parse_override",
    "read_yaml",
    "resolve_needs",
]
