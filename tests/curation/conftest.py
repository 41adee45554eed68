"""The small model and the browser of the retrieval's tests are used here too."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "retrieval"))
