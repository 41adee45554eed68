"""What to do about a step whose loss or gradient is not finite, and what to look at afterwards."""

import json
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from prolip.config import NonFinite
from prolip.workdir import Workdir


class NonFiniteError(RuntimeError):
    """The run stopped at a step that was not finite; the message says where to look."""


class Guard:
    """Counts non-finite steps. The step itself never applies them (`train.step`)."""

    def __init__(self, policy: NonFinite, max_skipped: int, workdir: Workdir):
        self._policy, self._max, self._workdir = policy, max_skipped, workdir
        self._in_a_row = 0

    def check(self, step: int, metrics: Mapping[str, Any], rows: Any) -> None:
        """Takes the metrics of the update to `step` and this process's rows of its batch.

        Raises:
          NonFiniteError: the policy is to stop, or too many steps in a row were skipped.
        """
        if metrics["finite"]:
            self._in_a_row = 0
            return
        self._in_a_row += 1
        path = self._dump(step, metrics, rows)
        bad = ", ".join(k for k, v in metrics.items() if not np.isfinite(v)) or "a gradient"
        if self._policy == "stop":
            raise NonFiniteError(
                f"step {step} is not finite ({bad}); its update was not applied. Batch and metrics "
                f"are in {path}. Go on past such steps with --config.non_finite=skip."
            )
        if self._in_a_row > self._max:
            raise NonFiniteError(
                f"{self._in_a_row} steps in a row up to {step} were not finite ({bad}); batches "
                f"and metrics are in {self._workdir.dumps}"
            )

    def _dump(self, step: int, metrics: Mapping[str, Any], rows: Any) -> str:
        path = self._workdir.dumps / f"step_{step}" / f"process_{jax.process_index()}"
        path.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {k: np.asarray(v) for k, v in rows._asdict().items()}
        np.savez(path / "batch.npz", **arrays)
        text = json.dumps({k: repr(float(v)) for k, v in metrics.items()}, indent=2)
        (path / "metrics.json").write_text(text + "\n", encoding="utf8")
        return str(path)
