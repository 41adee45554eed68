"""What do the means know? A linear probe of each label, and few-shot classification.

Ridge regression onto one-hot labels in closed form, as big_vision `evaluators/fewshot_lsr.py`
does, with one difference: the penalty is chosen on the training images alone, by the error that
leaving each of them out would give, which is a closed form too.
"""

from typing import NamedTuple

import numpy as np

from prolip.evals.context import Context, EvalResult, finite
from prolip.evals.labelled import labelled_images
from prolip.evals.metrics import class_mean

# Beside features of unit variance, times the number of training images.
PENALTIES = tuple(10.0**k for k in range(-6, 3))
FOLDS = 5
SHOTS = (1, 5, 10)
DRAWS = 3  # Of few-shot training images; the accuracy is the mean.


class Probe(NamedTuple):
    """Scores of a class are `(x - mean) / deviation @ weights + offset`."""

    mean: np.ndarray  # Float64[dim]
    deviation: np.ndarray  # Float64[dim]
    weights: np.ndarray  # Float64[dim classes]
    offset: np.ndarray  # Float64[classes]
    penalty: float

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Int[rows]: the class of the largest score, the lower one of equals.

        Raises:
          ValueError: a feature is not a number; the row is named.
        """
        x = _numbers(features)
        x = (x - self.mean) / self.deviation
        return (x @ self.weights + self.offset).argmax(1)


def fit(features: np.ndarray, labels: np.ndarray, num_classes: int) -> Probe:
    """Least squares onto one-hot labels, with a penalty on the weights but not on the offset.

    With centred X of n rows and penalty n*l: W = (X'X + n*l*I)^-1 X'Y, by one eigendecomposition
    for all penalties. Leaving row i out changes its residual to r_i / (1 - h_i), h_i = 1/n +
    x_i' (X'X + n*l*I)^-1 x_i; the penalty with the least sum of their squares is taken.

    Args:
      features: Float[rows dim].
      labels: Int[rows], in [0, num_classes).
      num_classes: how many there are.

    Raises:
      ValueError: no rows, or a feature that is not a number; the row is named.
    """
    x = _numbers(features)
    if not len(x):
        raise ValueError("a probe needs training images")
    mean, deviation = x.mean(0), x.std(0)
    deviation = np.where(deviation > 1e-12, deviation, 1.0)
    x = (x - mean) / deviation
    y = np.eye(num_classes)[np.asarray(labels)]
    offset = y.mean(0)
    values, vectors = np.linalg.eigh(x.T @ x)
    rotated = x @ vectors
    onto = rotated.T @ (y - offset)
    best = (np.inf, PENALTIES[0])
    for penalty in PENALTIES:
        shrunk = 1 / (np.maximum(values, 0) + penalty * len(x))
        residual = y - offset - rotated @ (shrunk[:, None] * onto)
        leverage = 1 / len(x) + (rotated**2) @ shrunk
        left_out = residual / np.maximum(1 - leverage, 1e-12)[:, None]
        best = min(best, (float((left_out**2).sum()), penalty))
    shrunk = 1 / (np.maximum(values, 0) + best[1] * len(x))
    return Probe(mean, deviation, vectors @ (shrunk[:, None] * onto), offset, best[1])


def cross_validated(features: np.ndarray, labels: np.ndarray, folds: int = FOLDS) -> np.ndarray:
    """Int[rows]: the class that a probe of the other folds gives each row.

    Folds are drawn with a fixed seed from the sorted rows of each class, so that each has its share
    of every class.
    """
    num_classes = int(labels.max()) + 1
    fold = np.empty(len(labels), np.int64)
    random = np.random.default_rng(0)
    start = 0
    for label in range(num_classes):
        rows = random.permutation(np.flatnonzero(labels == label))
        fold[rows] = (start + np.arange(len(rows))) % folds
        start += len(rows)
    predicted = np.empty(len(labels), np.int64)
    for number in range(folds):
        test = fold == number
        if test.any() and not test.all():
            predicted[test] = fit(features[~test], labels[~test], num_classes).predict(
                features[test]
            )
    return predicted


def few_shot(
    features: np.ndarray, labels: np.ndarray, shots: int, draws: int = DRAWS
) -> tuple[float, int]:
    """Mean accuracy of probes of `shots` rows a class on the other rows, and the number of classes.

    Classes without a row to spare are left out; (NaN, 0 or 1) if fewer than two are left.
    """
    counts = np.bincount(labels)
    classes = np.flatnonzero(counts > shots)
    if len(classes) < 2:
        return float("nan"), len(classes)
    kept = np.flatnonzero(np.isin(labels, classes))
    own = np.searchsorted(classes, labels[kept])
    accuracies = []
    for draw in range(draws):
        random = np.random.default_rng(draw)
        train = np.zeros(len(kept), bool)
        for label in range(len(classes)):
            rows = np.flatnonzero(own == label)
            train[random.choice(rows, shots, replace=False)] = True
        probe = fit(features[kept[train]], own[train], len(classes))
        accuracies.append(np.mean(probe.predict(features[kept[~train]]) == own[~train]))
    return float(np.mean(accuracies)), len(classes)


def evaluate(context: Context) -> EvalResult:
    """Metrics under `probe/<label feature>/`, for each of `eval.label_features`.

    `top1` and `class_top1` (mean over classes) by cross-validation over the evaluation split,
    `majority` (the largest class's share), `pixels_top1` (the same probe of the pictures shrunk to
    8 x 8 pixels: what needs no model, and random weights keep most of it), `<k>_shot` with
    `<k>_shot_classes`, `num_classes`. A factor that captions never mention, or get wrong, should
    fall towards `majority` (arXiv 2504.10143).
    """
    metrics: dict[str, float] = {}
    arrays: dict[str, np.ndarray] = {}
    means = np.asarray(context.images.mean)
    pixels = context.pixels() if context.pixels and context.config.label_features else None
    for feature in context.config.label_features:
        labelled, names, labels = labelled_images(context, feature)
        if len(names) < 2:
            continue
        features = means[labelled]
        predicted = cross_validated(features, labels)
        correct = predicted == labels
        values = {
            "top1": correct.mean(),
            "class_top1": class_mean(correct, labels),
            "majority": np.bincount(labels).max() / len(labels),
            "num_classes": len(names),
        }
        if pixels is not None:
            values["pixels_top1"] = (cross_validated(pixels[labelled], labels) == labels).mean()
        for shots in SHOTS:
            accuracy, classes = few_shot(features, labels, shots)
            values |= {f"{shots}_shot": accuracy, f"{shots}_shot_classes": classes}
        metrics |= {f"probe/{feature}/{name}": float(value) for name, value in values.items()}
        arrays |= {f"{feature}_image": labelled, f"{feature}_predicted": predicted}
    return EvalResult(finite(metrics), arrays)


def _numbers(features: np.ndarray) -> np.ndarray:
    x = np.asarray(features, np.float64)
    if (bad := ~np.isfinite(x).all(1)).any():
        raise ValueError(f"the features of row {int(np.argmax(bad))} are not numbers")
    return x
