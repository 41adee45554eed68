"""The toy data set of the input pipeline's tests is embedded here too."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "data"))
