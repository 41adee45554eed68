"""A workdir with the files of a finished run, of invented numbers in realistic shapes."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from prolip.config import TrainConfig, to_dict
from prolip.evals.context import EvalResult
from prolip.evals.ledger import Ledger

LEVELS = ["group", "subgroup", "keywords", "name"]  # General first, as the evaluator has them.
MEASURES = ("recall@1", "recall@5", "recall@10", "r_precision", "map_at_r", "median_rank")
TASKS = (
    "text_to_image",
    "image_to_text",
    "text_to_image_multiple",
    "image_to_text_multiple",
)


@dataclasses.dataclass
class Synthetic:
    """What the evaluation of a run is about."""

    captions: list[str]
    level: np.ndarray  # Index into LEVELS.
    positives: list[np.ndarray]
    num_images: int


def invent(num_captions: int, num_images: int, random: np.random.Generator) -> Synthetic:
    """Captions of four levels that match one image or many."""
    level = np.sort(random.choice(4, num_captions, p=[0.02, 0.15, 0.48, 0.35]))
    level[:4] = range(4)
    top = np.array([num_images // 5, 12, 6, 1])[level]
    counts = np.maximum(1, np.minimum(random.geometric(1 / top), num_images))
    return Synthetic(
        captions=[f"{LEVELS[kind]} {i}" for i, kind in enumerate(level)],
        level=level,
        positives=[np.sort(random.choice(num_images, n, replace=False)) for n in counts],
        num_images=num_images,
    )


def write(
    workdir: Path,
    data: Synthetic,
    random: np.random.Generator,
    steps: Sequence[int] = (500, 1000, 1500, 2000, 2500, 3000),
    slope: float = 0.12,
    evaluators: Sequence[str] = ("retrieval", "zero_shot", "uncertainty"),
) -> None:
    """Writes config, metrics and the evaluations; `slope` ties uncertainty to log matches."""
    workdir.mkdir(parents=True, exist_ok=True)
    config = dataclasses.replace(TrainConfig(), total_steps=steps[-1], global_batch=128)
    (workdir / "config.json").write_text(json.dumps(to_dict(config)))
    with open(workdir / "metrics.jsonl", "w") as file:
        for step in range(10, steps[-1] + 1, 10):
            file.write(json.dumps(training_row(step, steps[-1], random)) + "\n")
    ledger = Ledger(workdir, "config")
    for step in steps:
        results = evaluate(data, step / steps[-1], slope, random)
        for name in evaluators:
            ledger.record(step, f"manifest{step}", name, results[name])


def training_row(step: int, total: int, random: np.random.Generator) -> dict[str, float]:
    """A line of `metrics.jsonl`."""
    done = step / total
    noise = lambda size: float(random.normal(0, size))  # noqa: E731
    ppcl = 4.5 * np.exp(-6 * done) + 2.1 - 0.8 * done + noise(0.12)
    return {
        "step": step,
        "loss": ppcl + 0.02,
        "loss/ppcl": ppcl,
        "loss/bottleneck": 180 - 60 * done + noise(1),
        "loss/inclusion_image_text": 20 * np.exp(-3 * done) + abs(noise(0.8)),
        "loss/inclusion_masked_image": 18 * np.exp(-4 * done) + abs(noise(1)),
        "loss/inclusion_masked_text": 19 * np.exp(-2 * done) + abs(noise(1)),
        "similarity/positive": 0.1 + 0.35 * done**0.5 + noise(0.015),
        "similarity/negative": 0.08 * np.exp(-9 * done) + noise(0.004),
        "uncertainty/image": 0.05 + 0.3 * done + noise(0.01),
        "uncertainty/text": 0.05 + 0.6 * done + noise(0.015),
        "logit_scale": 14.3 + 10 * done,
        "logit_bias": -10 - 2 * done,
        "learning_rate": 1e-3 * min(1, 10 * done) * 0.5 * (1 + np.cos(np.pi * done)),
        "grad_norm": 0.8 * np.exp(-2 * done) + abs(noise(0.15)),
        "finite": 1.0,
        "samples_digest": 12345,
    }


def evaluate(
    data: Synthetic, done: float, slope: float, random: np.random.Generator
) -> dict[str, EvalResult]:
    """Results of the three evaluators, better the further the training is."""
    matches = np.array([len(row) for row in data.positives])
    text = 0.6 + slope * np.log(matches) + random.normal(0, 0.12, len(matches))
    image = 0.35 + random.gamma(4, 0.02, data.num_images)
    image_matches = np.bincount(np.concatenate(data.positives), minlength=data.num_images)
    retrieval = {
        f"{task}/{variant}{measure}": value
        for task, base in zip(TASKS, (0.31, 0.35, 0.51, 0.33), strict=True)
        for variant, loss in (("", 1.0), ("mean/", 0.93))
        for measure, value in zip(
            MEASURES,
            [*(np.array([1, 1.5, 1.75, 0.75, 0.6]) * base * loss * done**0.4).tolist(), 4.0],
            strict=True,
        )
    } | {f"{task}/num_queries": 280.0 for task in TASKS}
    bins = {
        f"{name}_bins_{measure}": np.linspace(0.6, 0.3, 10) + random.normal(0, 0.04, 10)
        for name in ("text", "image", "text_multiple")
        for measure in ("recall@1", "map_at_r")
    }
    several = matches > 1
    ranks = lambda x: np.argsort(np.argsort(x))  # noqa: E731
    rho = lambda a, b: float(np.corrcoef(ranks(a), ranks(b))[0, 1])  # noqa: E731
    uncertainty = {
        "text/matches_spearman": rho(text, matches),
        "text/matches_spearman_multiple": rho(text[several], matches[several]),
        "text/level_spearman": rho(text, -data.level),
        "text/length_spearman": 0.12,
        "inclusion_rate": 0.71,
        "inclusion_rate_others": 0.69,
        "inclusion_auc": 0.52,
        "similarity_auc": 0.81,
        "num_pairs": float(matches.sum()),
    } | {f"{name}/bins_spearman_recall@1": -0.87 for name in ("text", "image", "text_multiple")}
    by_text, by_image = np.argsort(text), np.argsort(image)
    return {
        "retrieval": EvalResult(
            {f"retrieval/{name}": value for name, value in retrieval.items()},
            {},
            examples(data, random),
        ),
        "zero_shot": EvalResult(
            {
                "zero_shot/group/top1": 0.77 * done**0.2,
                "zero_shot/group/mean/top1": 0.75 * done**0.2,
                "zero_shot/group/top5": 0.97,
                "zero_shot/group/class_top1": 0.7,
                "zero_shot/group/num_classes": 9.0,
                "zero_shot/subgroup/top1": 0.44 * done**0.3,
                "zero_shot/subgroup/num_classes": 90.0,
            },
            {},
            {},
        ),
        "uncertainty": EvalResult(
            {f"uncertainty/{name}": value for name, value in uncertainty.items()},
            {
                "caption_uncertainty": text,
                "caption_matches": matches,
                "caption_level": data.level,
                "image_uncertainty": image,
                "image_matches": image_matches,
                **bins,
            },
            {
                "levels": LEVELS,
                "captions": data.captions,
                "most_certain_captions": by_text[:24].tolist(),
                "least_certain_captions": by_text[::-1][:24].tolist(),
                "most_certain_images": by_image[:24].tolist(),
                "least_certain_images": by_image[::-1][:24].tolist(),
            },
        ),
    }


def examples(data: Synthetic, random: np.random.Generator) -> dict[str, list[dict[str, object]]]:
    """Notes of the retrieval evaluator: captions with ten images, images with ten captions."""
    captions, images = [], []
    per_level = [np.flatnonzero(data.level == i) for i in range(len(LEVELS))]
    for text in [
        int(t) for members in per_level for t in members[:: max(1, len(members) // 6)][:6]
    ]:
        right = random.permutation(data.positives[text])[: random.integers(0, 8)]
        others = np.setdiff1d(np.arange(data.num_images), data.positives[text])
        wrong = random.choice(others, 10 - len(right), replace=False)
        found = random.permutation(np.concatenate([right, wrong]).astype(int))
        captions.append(
            {
                "index": text,
                "caption": data.captions[text],
                "level": LEVELS[data.level[text]],
                "matches": len(data.positives[text]),
                "images": found.tolist(),
                "hits": np.isin(found, data.positives[text]).tolist(),
            }
        )
    for image in np.linspace(0, data.num_images - 1, 24).astype(int).tolist():
        own = [t for t, row in enumerate(data.positives) if image in row]
        found = [*own[: random.integers(0, 6)], *random.choice(len(data.captions), 10)][:10]
        images.append(
            {
                "index": image,
                "captions": [data.captions[t] for t in found],
                "levels": [LEVELS[data.level[t]] for t in found],
                "hits": [t in own for t in found],
            }
        )
    return {"captions": captions, "images": images}
