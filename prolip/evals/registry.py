"""What can be evaluated: evaluators that a configuration names, and benchmarks of given embeddings.

A new evaluator is a file with `evaluate(context) -> EvalResult`, and an entry here; the name goes
into `eval.evaluators` of a configuration.
"""

import dataclasses
import difflib
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

from prolip.evals import (
    abstention,
    annotation,
    calibration,
    multiplicity,
    probe,
    prompt_choice,
    uncertainty,
    zero_shot,
)
from prolip.evals.benchmarks import annotations
from prolip.evals.context import Evaluator
from prolip.evals.retrieval import evaluate as evaluate_retrieval

ANY = "any retrieval split"
LABELS = "any retrieval split with eval.label_features"


@dataclasses.dataclass(frozen=True)
class Entry:
    """An evaluator, or a benchmark of embeddings."""

    name: str
    measures: str
    needs: str  # Which data, and where it belongs.
    run: Evaluator | None = None  # None: called from Python, see `needs`.
    here: Callable[[], bool] = lambda: True  # Whether what it needs besides a split is there.


def manual_dir() -> Path:
    """Where files are looked for that have to be fetched by hand, as TFDS does."""
    data_dir = os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets"
    return Path(data_dir) / "downloads" / "manual"


def _manual(name: str) -> Callable[[], bool]:
    return lambda: (manual_dir() / name).is_file()


REGISTRY = (
    Entry(
        "retrieval",
        "R@K, R-Precision, mAP@R, nDCG, median rank, both ways, by CSD and by means",
        ANY,
        evaluate_retrieval,
    ),
    Entry(
        "zero_shot",
        "accuracy of classes that are the Gaussians of their prompts",
        LABELS,
        zero_shot.evaluate,
    ),
    Entry(
        "prompts",
        "zero-shot with the less uncertain prompts, and with prompts weighted by images (BPRW)",
        LABELS,
        prompt_choice.evaluate,
    ),
    Entry(
        "uncertainty",
        "uncertainty against number of matches, level, length, accuracy per bin; inclusion test",
        ANY,
        uncertainty.evaluate,
    ),
    Entry(
        "abstention",
        "risk-coverage and AURC: would leaving uncertain queries out pay?",
        ANY,
        abstention.evaluate,
    ),
    Entry(
        "calibration",
        "skill of the model's pair probabilities, and calibration error of the likely ones",
        ANY,
        calibration.evaluate,
    ),
    Entry(
        "probe",
        "linear and few-shot probes of the means, one for each label",
        LABELS,
        probe.evaluate,
    ),
    Entry(
        "multiplicity",
        "matches of a caption; expected false negatives of a batch",
        ANY,
        multiplicity.evaluate,
    ),
    Entry(
        "annotation",
        "R@1 as a benchmark with one annotated match would say, by number of matches",
        ANY,
        annotation.evaluate,
    ),
    Entry(
        "coco",
        "COCO 5K and 1K, CxC, ECCV Caption",
        "embeddings with COCO ids: prolip.evals.benchmarks.coco; annotations: pip install "
        "'prolip[eval]'",
        here=lambda: importlib.util.find_spec(annotations.PACKAGE) is not None,
    ),
    Entry(
        "flickr30k",
        "R@K of 1,000 images with five captions each",
        "embeddings in the order of dataset_flickr30k.json in the manual folder: "
        "prolip.evals.benchmarks.flickr30k",
        here=_manual("dataset_flickr30k.json"),
    ),
    Entry(
        "hierarcaps",
        "captions found on the way from an image to a root; levels against uncertainty",
        "embeddings of images with captions from general to specific: "
        "prolip.evals.benchmarks.hierarcaps, or --set hierarcaps=WHERE",
    ),
    Entry(
        "pmrp",
        "R-Precision by plausible matches: nearly the same object classes",
        "embeddings with COCO ids: prolip.evals.benchmarks.pmrp; instances_val2014.json in the "
        "manual folder",
        here=_manual("instances_val2014.json"),
    ),
)
EVALUATORS: dict[str, Evaluator] = {
    entry.name: entry.run for entry in REGISTRY if entry.run is not None
}


def evaluator(name: str) -> Evaluator:
    """The evaluator with this name.

    Raises:
      ValueError: there is none; the nearest name is given.
    """
    if name in EVALUATORS:
        return EVALUATORS[name]
    near = difflib.get_close_matches(name, EVALUATORS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(EVALUATORS)}"
    raise ValueError(f"there is no evaluator {name!r}; {hint}")
