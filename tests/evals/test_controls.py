"""No headline number is good for embeddings that know nothing, and each is for those that know."""

import numpy as np
import pytest

from prolip.config import EvalConfig
from prolip.evals.calibration import pair_calibration
from prolip.evals.chance import of_rankings
from prolip.evals.context import Context
from prolip.evals.metrics import retrieval_metrics
from prolip.evals.registry import EVALUATORS
from prolip.evals.summary import guess
from prolip.gaussian import Gaussian

IMAGES, GROUPS, DIM = 120, 6, 96
BETTER = {  # By how much a model that knows is better than guessing.
    "retrieval/text_to_image/recall@1": 0.3,
    "retrieval/text_to_image/map_at_r": 0.3,
    "retrieval/image_to_text/recall@1": 0.3,
    "zero_shot/group/top1": 0.3,
    "probe/group/top1": 0.3,
    "uncertainty/text/matches_spearman": 0.3,
    "abstention/text_to_image/recall@1/uncertainty/gain": 0.3,
    "calibration/brier_skill": 0.3,
    "calibration/log_skill": 0.3,
}
NAMES = ("retrieval", "zero_shot", "uncertainty", "abstention", "calibration", "probe")


ENDS = (
    Gaussian(np.eye(2, dtype=np.float32), np.full((2, 2), -np.inf, np.float32)),
    Gaussian(np.eye(2, dtype=np.float32)[:1], np.full((1, 2), -np.inf, np.float32)),
)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def gaussians(mean, log_var):
    log_var = np.broadcast_to(np.reshape(log_var, (-1, 1)), mean.shape)
    return Gaussian(unit(mean).astype(np.float32), log_var.astype(np.float32))


def relation():
    """A caption for each image and one for each group; half of the images are of one group."""
    group = np.where(np.arange(IMAGES) < IMAGES // 2, 0, np.arange(IMAGES) % GROUPS)
    own = [np.array([i]) for i in range(IMAGES)]
    return group, own + [np.flatnonzero(group == g) for g in range(GROUPS)]


def context(kind: str, scale=40.0, bias=-20.0) -> Context:
    rng = np.random.default_rng(0)
    group, positives = relation()
    captions = len(positives)
    names = [f"g{g}" for g in range(GROUPS)]
    if kind == "known":
        base = unit(rng.normal(size=(GROUPS, DIM)))
        images = base[group] + 1.5 * unit(rng.normal(size=(IMAGES, DIM)))
        # A twelfth of the captions lies elsewhere, and is the more uncertain.
        lost = np.arange(IMAGES) % 12 == 0
        texts = np.where(lost[:, None], rng.normal(size=(IMAGES, DIM)), unit(images))
        texts = np.concatenate([texts, base])
        doubt = np.concatenate([np.where(lost, -8.5, -12.0), np.full(GROUPS, -9.0)])
        image_doubt, words = rng.normal(-12, 0.1, IMAGES), dict(zip(names, base, strict=True))
    elif kind == "equal":
        images, texts = np.ones((IMAGES, DIM)), np.ones((captions, DIM))
        doubt, image_doubt, words = -7.0, -7.0, dict.fromkeys(names, np.ones(DIM))
    else:
        images, texts = rng.normal(size=(IMAGES, DIM)), rng.normal(size=(captions, DIM))
        doubt, image_doubt = rng.normal(-7, 1, captions), rng.normal(-7, 1, IMAGES)
        words = dict(zip(names, rng.normal(size=(GROUPS, DIM)), strict=True))
    if kind == "ignorant":  # Nothing is likely, as at the start of training.
        bias = -60.0
    return Context(
        images=gaussians(images, image_doubt),
        texts=gaussians(texts, doubt),
        captions=[f"{i}" for i in range(captions)],
        levels=["name"] * IMAGES + ["group"] * GROUPS,
        positives=positives,
        labels={"group": [f"g{g}" for g in group]},
        encode_text=lambda texts: gaussians(np.stack([words[t] for t in texts]), -9.0),
        config=EvalConfig(label_features=("group",), templates=("{}",)),
        logit_scale=scale,
        logit_bias=bias,
    )


@pytest.fixture(scope="module")
def measured():
    found, reasons = {}, {}
    for kind in ("known", "equal", "random", "ignorant"):
        results = [EVALUATORS[name](context(kind)) for name in NAMES]
        found[kind] = {k: v for result in results for k, v in result.metrics.items()}
        reasons[kind] = {k: v for result in results for k, v in result.undefined.items()}
    return found, reasons


@pytest.mark.parametrize("metric", BETTER)
def test_a_headline_tells_knowledge_from_ignorance(measured, metric):
    found, reasons = measured
    least = guess(metric, [found["known"]])
    assert least is not None and found["known"][metric] > least + BETTER[metric]
    for control in ("equal", "random", "ignorant"):
        if metric not in found[control]:
            assert reasons[control][metric]  # Shown as n/a with this.
            continue
        assert found[control][metric] < guess(metric, [found[control]]) + BETTER[metric] / 2


def test_the_error_of_likely_pairs_is_none_or_large_for_a_control(measured):
    found, reasons = measured
    assert found["known"]["calibration/ece_likely"] < 0.25
    for control in ("equal", "random", "ignorant"):
        error = found[control].get("calibration/ece_likely")
        assert error is None or error > 0.3
    assert "no pair a probability of" in reasons["ignorant"]["calibration/ece_likely"]
    # What was the headline once, and is small for a model that calls nothing likely.
    assert found["ignorant"]["calibration/ece_all_pairs"] < 0.03


def test_a_model_that_knows_the_share_of_matches_alone_has_no_skill():
    _, positives = relation()
    rate = sum(map(len, positives)) / (IMAGES * len(positives))
    bias = np.log(rate / (1 - rate))
    metrics = EVALUATORS["calibration"](context("random", scale=1e-9, bias=bias)).metrics
    assert metrics["calibration/brier_skill"] == pytest.approx(0, abs=1e-4)
    assert metrics["calibration/log_skill"] == pytest.approx(0, abs=1e-4)
    assert "calibration/ece_likely" not in metrics
    assert metrics["calibration/expected_per_match"] == pytest.approx(1, abs=1e-3)


def test_chance_is_the_mean_over_random_orders():
    rng = np.random.default_rng(0)
    positives = [np.arange(r) for r in (1, 3, 7, 0)]
    scores = rng.random((4000, 4, 12))
    parts = [retrieval_metrics(s, positives, ks=(1, 5)) for s in scores[:1500]]
    for name, value in of_rankings([1, 3, 7, 0], 12, (1, 5)).items():
        assert value == pytest.approx(np.mean([part[name] for part in parts]), abs=0.02), name


def test_extreme_logits_and_common_matches_are_measured_without_warnings():
    few = pair_calibration(*ENDS, [np.array([0])], logit_scale=1e4, logit_bias=-5e3)
    assert few.squares == 0 and few.log_loss == 0
    common = context("random")._replace(
        positives=[np.arange(IMAGES)] * (IMAGES + GROUPS - 1) + [[]]
    )
    result = EVALUATORS["calibration"](common)
    assert result.undefined["calibration/ece_likely"].startswith("half of all pairs match or more")
