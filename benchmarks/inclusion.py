"""Does any form of inclusion say more than similarity about which image or text is in which text?

    python benchmarks/inclusion.py --workdir runs/demo

Every form scores all pairs of a held-out image with a held-out caption, and of two captions. Two
areas under the ROC curve: over all pairs, and the mean over the outer captions of the area among
the inner items of one caption. In the first a caption that is wide and matches much counts as right
whatever the image; the second knows images only. What has to be fitted is fitted on the training
pairs, or crosswise on halves of the held-out images (both are in the table). Intervals are a
bootstrap over images, or over captions, of the difference to similarity.

"As a filter": pairs that are near enough, against pairs that are near enough and whose outer trace
is larger than the inner one by a factor; each threshold is chosen on one half of the held-out
images for the largest F1, and precision and recall are those of the other half.

Of two captions the first is inside the second where the images known for it, in training and
held-out data together, are a proper subset of those of the second. "Matched": each such pair beside
the pair of the same inner caption and an outer one that does not contain it, whose similarity is
the nearest; so similarity alone is at 0.5. "Right way round": share of the pairs inside whose score
is higher than that of the same pair turned.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats
from scipy.optimize import minimize
from scipy.special import expit
from timing import json_argument, print_header, print_row, save

import prolip
from prolip.data.evaluation import EvalSet, eval_set
from prolip.gaussian import Gaussian, expected_likelihood, kl
from prolip.workdir import Workdir

MATCHED_WITHIN = 0.02  # Of the cosine of a pair, its counterpart's is.
NAMES = {
    "similarity": "mean product − ½ trace of the inner item, which `search` ranks by",
    "cosine": "cosine of the means",
    "exact": "inclusion test, exact",
    "eps -10": "inclusion test, eps −10",
    "released": "inclusion test, released form, eps −20",
    "traces": "log ratio of traces, outer over inner",
    "exact, fitted": "inclusion test, exact, variances fitted to the distances of matches",
    "kl": "−KL(inner ‖ outer)",
    "kl, fitted": "−KL, variances fitted",
    "overlap": "expected log-likelihood kernel",
    "overlap, fitted": "the same, variances fitted",
    "contained": "probability of the inner in the outer's 95 % ellipsoid, variances fitted (z)",
    "near and wider": "cosine, pairs whose outer trace is not the larger last",
    "cosine + traces / 3": "cosine + ⅓ log ratio of traces",
    "logistic, training": "logistic of cosine and log ratio of traces, fitted on training pairs",
    "logistic, crosswise": "the same, fitted on the other half of the held-out inner items",
    "logistic 3, crosswise": "logistic of cosine and both log traces, on the other half",
}


class Side(NamedTuple):
    """Items with their matches."""

    images: Gaussian
    texts: Gaussian
    match: np.ndarray  # Bool[images texts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workdir", default="runs/demo", help="a run on emoji; default: runs/demo")
    parser.add_argument("--bootstrap", type=int, default=200, help="draws of images")
    json_argument(parser)
    args = parser.parse_args()
    config = Workdir(Path(args.workdir)).read_config()
    model = prolip.load(args.workdir)
    splits = [
        eval_set(config.data, config.model.image.image_size, split=split)
        for split in (config.data.eval_split, config.data.train_split)
    ]
    held_out, training = (embedded(model, split) for split in splits)
    rows = [
        {"pairs": "image in caption"} | row
        for row in image_rows(held_out, training, args.bootstrap)
    ]
    rows += [{"pairs": "as a filter"} | row for row in filter_rows(held_out)]
    texts, inside = text_pairs(held_out, *splits)
    rows += [{"pairs": "caption in caption"} | row for row in text_rows(texts, inside, training)]
    for name in dict.fromkeys(row["pairs"] for row in rows):
        some = [row for row in rows if row["pairs"] == name]
        print(f"\n{name}\n")
        print_header(*(key for key in some[0] if key != "pairs"))
        for row in some:
            print_row(*(x if isinstance(x, str) else f"{x:.3f}" for x in [*row.values()][1:]))
    save(args.json, rows)


def embedded(model: prolip.Model, split: EvalSet) -> Side:
    images = on_host(model.encode_image(np.concatenate(list(split.images(256)))))
    texts = on_host(model.encode_text([caption.text for caption in split.captions]))
    match = np.zeros((split.num_images, len(split.captions)), bool)
    for caption, own in enumerate(split.positives):
        match[own, caption] = True
    return Side(images, texts, match)


def on_host(gaussian: Gaussian) -> Gaussian:
    return Gaussian(*(np.asarray(field) for field in gaussian))


def image_rows(held_out: Side, training: Side, times: int) -> list[dict]:
    scale = fitted_scale(training)
    print(f"variances fitted to training matches: x {scale:.0f}")
    scores = forms(held_out.images, held_out.texts, scale)
    scores |= logistic(held_out, training)
    match = held_out.match
    agree = ((scores["exact"] > 0) == (scores["traces"] > 0)).mean()
    traces = [np.median(np.exp(side.log_var).sum(-1)) for side in held_out[:2]]
    square = 2 - 2 * scores["cosine"]
    print(f"the exact test has the sign of the log ratio of traces in {agree:.1%} of pairs")
    print(
        f"median traces: images {traces[0]:.2g}, captions {traces[1]:.2g}; median squared distance"
    )
    print(
        f"of means: matches {np.median(square[match]):.3f}, others {np.median(square[~match]):.3f}"
    )
    base = within(scores["similarity"], match)
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(match), len(match)) for _ in range(times)]
    pooled_base = np.array([auc(scores["similarity"][d], match[d]) for d in draws])
    rows = []
    for name in NAMES:
        score, own = scores[name], within(scores[name], match)
        same = match.sum(0)[(match.any(0) & ~match.all(0))]
        row = {"form": NAMES[name], "rate, matches": "–", "rate, others": "–", "same captions": "–"}
        if name in ("exact", "eps -10", "released", "traces", "exact, fitted"):
            others = (score > 0) & ~match
            share = others.sum(0)[same_columns(match)] / (~match).sum(0)[same_columns(match)]
            row["rate, matches"] = float((score[match] > 0).mean())
            row["rate, others"] = float((score[~match] > 0).mean())
            row["same captions"] = float(np.average(share, weights=same))
        gain = np.array([auc(score[d], match[d]) for d in draws]) - pooled_base
        captions = rng.integers(0, len(own), (2000, len(own)))
        rows.append(
            row
            | {
                "AUC, all pairs": auc(score, match),
                "– similarity": interval(gain),
                "AUC within a caption": float(own.mean()),
                "– similarity ": interval((own - base)[captions].mean(1)),
            }
        )
    return rows


def filter_rows(side: Side) -> list[dict]:
    """Precision, recall and F1, crosswise over halves of the images."""
    scores = forms(side.images, side.texts, 1.0)
    half = halves(len(side.match))
    rows = {name: [0, 0] for name in ("near", "near and wider", "wider (the test, released form)")}
    for part in (0, 1):
        fit, rest = half != part, half == part
        near, wide, match = (scores["similarity"], scores["traces"], side.match)
        limits = np.quantile(near[fit][match[fit]], np.linspace(0, 0.99, 100))
        factors = [-np.inf, *np.quantile(wide[fit][match[fit]], np.linspace(0, 0.9, 46))]
        chosen = max(limits, key=lambda t: f1(near[fit] >= t, match[fit]))
        both = max(
            ((t, r) for t in limits for r in factors),
            key=lambda x: f1((near[fit] >= x[0]) & (wide[fit] >= x[1]), match[fit]),
        )
        passes = {
            "near": near[rest] >= chosen,
            "near and wider": (near[rest] >= both[0]) & (wide[rest] >= both[1]),
            "wider (the test, released form)": scores["released"][rest] > 0,
        }
        print(f"filter: near {chosen:.3f}; near {both[0]:.3f} and log ratio {both[1]:.3f}")
        for name, kept in passes.items():
            rows[name][0] += (kept & match[rest]).sum()
            rows[name][1] += kept.sum()
    total = side.match.sum()
    return [
        {
            "filter": name,
            "precision": float(hits / kept),
            "recall": float(hits / total),
            "F1": float(2 * hits / (kept + total)),
        }
        for name, (hits, kept) in rows.items()
    ]


def f1(kept: np.ndarray, match: np.ndarray) -> float:
    return float(2 * (kept & match).sum() / (kept.sum() + match.sum()))


def halves(count: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(count) % 2


def text_pairs(held_out: Side, split: EvalSet, train: EvalSet) -> tuple[Gaussian, np.ndarray]:
    """Captions of the held-out part, and bool [inner outer]: is the first inside the second?"""
    known = {caption.text: set() for caption in split.captions}
    for part, name in ((split, "held out"), (train, "training")):
        for caption, own in zip(part.captions, part.positives, strict=True):
            if caption.text in known:
                known[caption.text] |= {(name, int(image)) for image in own}
    sets = list(known.values())
    inside = np.array([[a < b for b in sets] for a in sets])
    return held_out.texts, inside


def text_rows(texts: Gaussian, inside: np.ndarray, training: Side) -> list[dict]:
    scores = forms(texts, texts, fitted_scale(training))
    off = ~np.eye(len(inside), dtype=bool)
    scores["logistic, crosswise"] = text_logistic(texts, inside, off)
    right, wrong = matched(scores["cosine"], inside, off)
    print(f"{inside.sum()} of {off.sum()} ordered pairs are inside; {len(right[0])} are matched")
    rows = []
    for name in (name for name in NAMES if name in scores):
        score = scores[name]
        both = np.concatenate([score[right], score[wrong]])
        label = np.repeat([True, False], [len(right[0]), len(wrong[0])])
        draws = np.random.default_rng(0).integers(0, len(right[0]), (200, len(right[0])))
        spread = [auc(np.concatenate([score[right][d], score[wrong][d]]), label) for d in draws]
        right_way = (score > score.T)[inside].mean() + (score == score.T)[inside].mean() / 2
        per = [
            auc(score[:, i][off[:, i]], inside[:, i][off[:, i]])
            for i in np.flatnonzero(inside.any(0))
        ]
        rows.append(
            {
                "form": NAMES[name],
                "AUC, all pairs": auc(score[off], inside[off]),
                "AUC within an outer caption": float(np.mean(per)),
                "AUC, matched": auc(both, label),
                "95 %": interval(np.array(spread)),
                "right way round": float(right_way),
            }
        )
    return rows


def matched(
    cosine: np.ndarray, inside: np.ndarray, off: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Pairs inside, and for each one that is not: same inner caption, nearest cosine."""
    inner, outer, other = [], [], []
    for i, j in zip(*np.nonzero(inside), strict=True):
        free = np.flatnonzero(off[i] & ~inside[i])
        near = free[np.argmin(np.abs(cosine[i, free] - cosine[i, j]))]
        if abs(cosine[i, near] - cosine[i, j]) <= MATCHED_WITHIN:
            inner.append(i)
            outer.append(j)
            other.append(near)
    inner = np.array(inner)
    return (inner, np.array(outer)), (inner, np.array(other))


def forms(inner: Gaussian, outer: Gaussian, scale: float) -> dict[str, np.ndarray]:
    """Scores [inner outer] by name; higher: more inside."""
    wide = [Gaussian(g.mean, g.log_var + np.log(scale)) for g in (inner, outer)]
    cosine = inner.mean @ outer.mean.T
    trace = [np.exp(g.log_var).sum(-1) for g in (inner, outer)]
    ratio = np.log(trace[1])[None, :] - np.log(trace[0])[:, None]
    return {
        "similarity": cosine - trace[0][:, None] / 2,
        "cosine": cosine,
        "exact": np.asarray(prolip.inclusion(inner, outer)),
        "eps -10": np.asarray(prolip.inclusion(inner, outer, eps=-10.0)),
        "released": np.asarray(prolip.inclusion(inner, outer, eps=-20.0, form="released")),
        "traces": ratio,
        "exact, fitted": np.asarray(prolip.inclusion(*wide)),
        "kl": -np.asarray(kl(inner, outer)),
        "kl, fitted": -np.asarray(kl(*wide)),
        "overlap": np.asarray(expected_likelihood(inner, outer)),
        "overlap, fitted": np.asarray(expected_likelihood(*wide)),
        "contained": contained(*wide),
        "near and wider": np.where(ratio > 0, cosine, cosine - 2),
        "cosine + traces / 3": cosine + ratio / 3,
    }


def contained(inner: Gaussian, outer: Gaussian) -> np.ndarray:
    """z of P((x − m)ᵀ S⁻¹ (x − m) ≤ χ²_D at 95 %) for x of the inner, m and S of the outer.

    The quadratic form of a Gaussian by its mean and variance, as a normal distribution.
    """
    inverse = np.exp(-np.asarray(outer.log_var, np.float64))
    mean, variance = (np.asarray(x, np.float64) for x in (inner.mean, np.exp(inner.log_var)))
    centre = np.asarray(outer.mean, np.float64)

    def squares(weight: np.ndarray, by: np.ndarray) -> np.ndarray:
        """Sum over dimensions of `by` [outer] x `weight` [inner] x squared difference."""
        return (
            (weight * mean**2) @ by.T
            - 2 * (weight * mean) @ (by * centre).T
            + weight @ (by * centre**2).T
        )

    ones = np.ones_like(mean)
    expected = squares(ones, inverse) + variance @ inverse.T
    spread = 2 * variance**2 @ (inverse**2).T + 4 * squares(variance, inverse**2)
    return (stats.chi2.ppf(0.95, mean.shape[1]) - expected) / np.sqrt(spread)


def fitted_scale(side: Side) -> float:
    """By how much variances must grow for E|x − y|² of matches to be the distance of their means.

    The likelihood of the distances' sum of isotropic Gaussians is highest there.
    """
    image, text = np.nonzero(side.match)
    square = ((side.images.mean[image] - side.texts.mean[text]) ** 2).sum(-1)
    traces = [np.exp(g.log_var).sum(-1) for g in side[:2]]
    return float(square.mean() / (traces[0][image] + traces[1][text]).mean())


def features(side: Side, both: bool) -> np.ndarray:
    """Float [images texts features], the first is one."""
    cosine = side.images.mean @ side.texts.mean.T
    image, text = (np.log(np.exp(g.log_var).sum(-1)) for g in side[:2])
    image, text = np.broadcast_arrays(image[:, None], text[None, :])
    return np.stack(
        [np.ones_like(cosine), cosine, *((text, image) if both else (text - image,))], -1
    )


def logistic(held_out: Side, training: Side) -> dict[str, np.ndarray]:
    """Scores of logistic regressions."""
    found = {}
    weights = regression(features(training, False), training.match)
    print("logistic on training pairs:", *(f"{w:+.2f}" for w in weights), "(1, cosine, log ratio)")
    found["logistic, training"] = features(held_out, False) @ weights
    half = halves(len(held_out.match))
    for name, both in (("logistic, crosswise", False), ("logistic 3, crosswise", True)):
        x = features(held_out, both)
        found[name] = np.empty(held_out.match.shape)
        for part in (0, 1):
            weights = regression(x[half != part], held_out.match[half != part])
            print(f"{name}:", *(f"{w:+.2f}" for w in weights))
            found[name][half == part] = x[half == part] @ weights
    return found


def text_logistic(texts: Gaussian, inside: np.ndarray, off: np.ndarray) -> np.ndarray:
    """Cosine and log ratio of traces, fitted on the other half of the inner captions."""
    x, half = features(Side(texts, texts, inside), False), halves(len(inside))
    score = np.empty(inside.shape)
    for part in (0, 1):
        fit = half != part
        weights = regression(x[fit][off[fit]], inside[fit][off[fit]])
        print("captions, logistic, crosswise:", *(f"{w:+.2f}" for w in weights))
        score[half == part] = x[half == part] @ weights
    return score


def regression(x: np.ndarray, match: np.ndarray) -> np.ndarray:
    """Weights of the highest likelihood over matches and ten times as many other pairs, drawn."""
    x, y = x.reshape(-1, x.shape[-1]).astype(np.float64), match.reshape(-1)
    rng = np.random.default_rng(0)
    rows = np.concatenate([np.flatnonzero(y), rng.choice(np.flatnonzero(~y), 10 * y.sum())])
    x, y = x[rows], y[rows]

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        z = x @ w
        value = np.logaddexp(0, z) - y * z
        return value.mean(), x.T @ (expit(z) - y) / len(y)

    return minimize(loss, np.zeros(x.shape[1]), jac=True, method="BFGS").x


def same_columns(match: np.ndarray) -> np.ndarray:
    return match.any(0) & ~match.all(0)


def within(score: np.ndarray, match: np.ndarray) -> np.ndarray:
    """Area of each caption that matches some images and others not."""
    return np.array([auc(score[:, i], match[:, i]) for i in np.flatnonzero(same_columns(match))])


def auc(score: np.ndarray, match: np.ndarray) -> float:
    """Area under the ROC curve; ties count half."""
    score, match = score.ravel(), match.ravel()
    positive, negative = match.sum(), (~match).sum()
    ranks = stats.rankdata(score)[match].sum()
    return float((ranks - positive * (positive + 1) / 2) / (positive * negative))


def interval(values: np.ndarray) -> str:
    low, high = np.quantile(values, [0.025, 0.975])
    return f"{low:+.3f} … {high:+.3f}"


if __name__ == "__main__":
    main()
