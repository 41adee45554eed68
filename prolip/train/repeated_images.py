"""A sentence for runs whose batches have one image in several rows."""

import numpy as np
from rich.console import Console

from prolip.config_objective import Positives
from prolip.data.records import Batch


class RepeatedImages:
    """Says once that rows of a batch have one image, where the objective takes no account of it.

    Args:
      positives: Of the objective.
      console: Where the sentence is printed.
    """

    def __init__(self, positives: Positives, console: Console):
        self._console = console
        self._done = positives == "extended"

    def look(self, step: int, rows: Batch) -> None:
        """Looks at the rows that this process reads of a step."""
        if self._done or rows.image_id is None:
            return
        words = np.ascontiguousarray(rows.image_id)
        images = len(np.unique(words.view(np.int64)))
        if images < len(words):
            self._done = True
            self._console.print(
                f"images repeat: {images:,} images stand in {len(words):,} rows of the batch of "
                f"step {step}, and the captions of the other rows of an image count as mismatches; "
                "config.objective.positives=extended counts them as matches",
                highlight=False,
            )
