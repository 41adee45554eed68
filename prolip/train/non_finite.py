"""What to do about a step whose loss or gradient is not finite, and what to look at afterwards."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from prolip.config import NonFinite
from prolip.workdir import Workdir


class NonFiniteError(RuntimeError):
    """The run stopped at a step that was not finite; the message says where to look."""


class Guard:
    """Counts non-finite steps. The step itself never applies them (`train.step`)."""

    def __init__(
        self,
        policy: NonFinite,
        max_skipped: int,
        workdir: Workdir,
        in_a_row: int = 0,
        say: Callable[[str], Any] = lambda sentence: None,
    ):
        """Continues a streak that a checkpoint was saved in.

        Args:
          policy: of the configuration.
          max_skipped: steps in a row that are skipped at most.
          workdir: of the run.
          in_a_row: steps up to the first one that were skipped.
          say: gets a sentence for each skipped step.
        """
        self._policy, self._max, self._workdir = policy, max_skipped, workdir
        self._say = say
        self.in_a_row = in_a_row

    def check(self, step: int, metrics: Mapping[str, Any], rows: Any) -> None:
        """Takes the metrics of the update to `step` and this process's rows of its batch.

        Raises:
          NonFiniteError: the policy is to stop, or too many steps in a row were skipped.
        """
        if metrics["finite"]:
            self.in_a_row = 0
            return
        self.in_a_row += 1
        path = self._dump(step, metrics, rows)
        bad = ", ".join(k for k, v in metrics.items() if not np.isfinite(v)) or "a gradient"
        if self._policy == "stop":
            raise NonFiniteError(
                f"step {step} is not finite ({bad}); its update was not applied. Batch and metrics "
                f"are in {path}. Go on past such steps with --config.non_finite=skip."
            )
        if self.in_a_row > self._max:
            raise NonFiniteError(
                f"{self.in_a_row} steps in a row up to {step} were not finite ({bad}); batches "
                f"and metrics are in {self._workdir.dumps}"
            )
        self._say(
            f"step {step} is not finite ({bad}) and is skipped ({self.in_a_row} in a row, "
            f"config.max_skipped {self._max}); batch and metrics are in {path}"
        )

    def _dump(self, step: int, metrics: Mapping[str, Any], rows: Any) -> str:
        path = self._workdir.dumps / f"step_{step}" / f"process_{jax.process_index()}"
        path.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {k: np.asarray(v) for k, v in rows._asdict().items()}
        np.savez(path / "batch.npz", **arrays)
        text = json.dumps({k: repr(float(v)) for k, v in metrics.items()}, indent=2)
        (path / "metrics.json").write_text(text + "\n", encoding="utf8")
        return str(path)
