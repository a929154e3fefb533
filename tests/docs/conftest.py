"""Shared set-up of the tests of the documents: the modules next to them can be imported."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
