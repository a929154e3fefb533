"""``python -m mav_lightning`` is ``mav``."""

from mav_lightning.cli.app import main

main()
