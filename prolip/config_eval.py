"""Values that options of the evaluation may have."""

import dataclasses
from collections.abc import Sequence
from typing import Literal

from prolip.config_bounds import ConfigError

# The evaluators of `prolip.evals.registry`, which a configuration names.
EvaluatorName = Literal[
    "retrieval",
    "zero_shot",
    "uncertainty",
    "abstention",
    "calibration",
    "probe",
    "multiplicity",
    "annotation",
    "prompts",
]


def templates_error(templates: Sequence[str]) -> str:
    """A sentence on what is wrong with templates of prompts, "" where nothing is.

    All classes would otherwise get one text, and the first of them every image.
    """
    if not templates:
        return 'there is no template; "{}" alone is the name itself'
    wrong = next((template for template in templates if template.count("{}") != 1), None)
    if wrong is None:
        return ""
    return f"the template {wrong!r} must have {{}} once, where the name of the class goes"


@dataclasses.dataclass(frozen=True)
class OnePlaceEach:
    """Templates of prompts, each with one place for the name of a class."""

    def check(self, value: Sequence[str], path: str) -> None:
        """Raises ConfigError for a template without a place, or none at all."""
        if reason := templates_error(value):
            raise ConfigError(f"{path}: {reason}")
