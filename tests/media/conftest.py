"""Makes `import films` work in the tests of media."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
