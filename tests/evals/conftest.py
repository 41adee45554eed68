"""One random generator for all tests of evaluation; helpers of other folders are found."""

import sys
from pathlib import Path

import numpy as np
import pytest

for folder in ("data", "retrieval"):
    sys.path.append(str(Path(__file__).parents[1] / folder))


@pytest.fixture
def rng():
    return np.random.default_rng(0)
