"""Which prompts make a class: filters by uncertainty, and Bayesian prompt re-weighting (BPRW).

Source: ProLIP, arXiv 2410.18857, section 3.4, and naver-ai/prolip
`src/analysis/unc_zeroshot_prompts.py`. Prompts are [classes, prompts, dim] here.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from prolip.evals.context import host_gaussian
from prolip.evals.csd import check_numbers
from prolip.gaussian import Gaussian

Form = Literal["exact", "released"]
Prior = Literal["uniform", "inverse", "inverse_sq", "inverse_5"]
POWERS: dict[Prior, int] = {"uniform": 0, "inverse": 1, "inverse_sq": 2, "inverse_5": 5}


def keep_by_deviation(uncertainty: np.ndarray, deviations: float) -> np.ndarray:
    """Prompts within so many standard deviations above the mean of their class.

    Args:
      uncertainty: Float[classes, prompts], traces.
      deviations: may be negative.

    Returns:
      Bool[classes, prompts]; the least uncertain of a class always stays, here and below.
    """
    if uncertainty.shape[1] == 1:
        return np.ones(uncertainty.shape, bool)
    spread = uncertainty.std(1, ddof=1, keepdims=True)
    return _with_least(
        uncertainty, uncertainty <= uncertainty.mean(1, keepdims=True) + deviations * spread
    )


def keep_least_of_all(uncertainty: np.ndarray, count: int) -> np.ndarray:
    """The `count` least uncertain prompts of all classes together, and those equal to the last."""
    threshold = np.sort(uncertainty, axis=None)[count - 1]
    return _with_least(uncertainty, uncertainty <= threshold)


def keep_least_of_each(uncertainty: np.ndarray, count: int | Sequence[int]) -> np.ndarray:
    """The `count` least uncertain prompts of each class; may differ from class to class."""
    _check_traces(uncertainty)
    rank = np.argsort(np.argsort(uncertainty, 1, kind="stable"), 1, kind="stable")
    return rank < np.broadcast_to(count, len(uncertainty))[:, None]


def keep_below(uncertainty: np.ndarray, threshold: float) -> np.ndarray:
    """Prompts of at most this uncertainty."""
    return _with_least(uncertainty, uncertainty <= threshold)


def filtered(prompts: Gaussian, keep: np.ndarray) -> Gaussian:
    """Classes from the prompts that stay: mean of unit means, made unit again; mean of variances.

    Args:
      prompts: [classes, prompts, dim].
      keep: Bool[classes, prompts].
    """
    weights = keep / keep.sum(1, keepdims=True)
    mean = _unit(np.asarray(prompts.mean, np.float64))
    variance = np.exp(np.asarray(prompts.log_var, np.float64))
    return _classes(
        _unit(np.einsum("ct,ctd->cd", weights, mean)), np.einsum("ct,ctd->cd", weights, variance)
    )


def mixture_weights(
    samples: np.ndarray,
    prompts: Gaussian,
    *,
    alpha: float = 100.0,
    multiplier: float = 1.0,
    floor: float = 0.0,
    prior: Prior = "uniform",
    tolerance: float = 1e-12,
    max_steps: int = 1000,
    form: Form = "exact",
) -> np.ndarray:
    """Weights of a class's prompts as a mixture that explains samples of its images.

    EM for the weights alone, with a symmetric Dirichlet prior: r_nk is proportional to
    pi_k N(z_n; mean_k, multiplier v_k + floor), and pi_k = (sum_n r_nk + alpha - 1) /
    (N + K (alpha - 1)), clipped at 0. In float64 and in logs.

    Args:
      samples: Float[samples, dim].
      prompts: of one class, [prompts, dim].
      alpha: of the Dirichlet prior; larger is closer to uniform, 1 is maximum likelihood.
      multiplier: of the prompts' variances.
      floor: added to the variances; without one, prompts of little variance take all.
      prior: the start, uniform or one over the mean of a power of the variances.
      tolerance: of the change of the weights, as a Euclidean norm, at which it stops.
      max_steps: after which it stops anyway.
      form: "released" multiplies variance and floor once more, and gives the weights before the
        last step, as the published code does.

    Returns:
      Float64[prompts], at least 0, sum 1.

    Raises:
      ValueError: a sample or prompt is not a number, or a variance is zero where it divides.
    """
    samples = np.asarray(samples, np.float64)
    mean = np.asarray(prompts.mean, np.float64)
    variance = np.exp(np.asarray(prompts.log_var, np.float64))
    check_numbers(np.isfinite(samples).all(1), "sample")
    check_numbers(np.isfinite(mean).all(1) & np.isfinite(variance).all(1), "prompt")
    powers = (variance ** POWERS[prior]).mean(1)
    variance = variance * multiplier + floor
    if not ((powers > 0).all() and (variance > 0).all()):
        raise ValueError(
            "prompts of zero variance can't be weighted: a point explains nothing but itself; give "
            "prior='uniform' and a floor above 0"
        )
    start = 1 / powers
    if form == "released":
        variance = variance * multiplier
    log_likelihood = _log_likelihood(samples, mean, variance)
    weights = start / start.sum()
    for _ in range(max_steps):
        new = _step(log_likelihood, weights, alpha)
        done = np.linalg.norm(new - weights) < tolerance
        if done and form == "released":
            break
        weights = new
        if done:
            break
    return weights


def nearest_images(images: Gaussian, classes: Gaussian, count: int) -> np.ndarray:
    """Int[classes, count]: the images whose means are most similar to each class, best first."""
    similarity = np.asarray(classes.mean, np.float64) @ np.asarray(images.mean, np.float64).T
    return np.argsort(-similarity, axis=1, kind="stable")[:, :count]


def draw_samples(images: Gaussian, noise: np.ndarray) -> np.ndarray:
    """Float64[images * draws, dim]: draws of each image, from standard normal [images, draws, dim].

    Reparametrised: mean + standard deviation * noise.
    """
    deviation = np.exp(np.asarray(images.log_var, np.float64) / 2)
    samples = np.asarray(images.mean, np.float64)[:, None] + deviation[:, None] * noise
    return samples.reshape(-1, samples.shape[-1])


def reweighted(prompts: Gaussian, weights: np.ndarray, form: Form = "exact") -> Gaussian:
    """Classes as weighted sums of prompts: mean sum pi_k mean_k, variance sum pi_k^2 v_k.

    Args:
      prompts: [classes, prompts, dim].
      weights: Float[classes, prompts], sum 1 for each class.
      form: "exact" makes the mean unit again, as all other embeddings are; "released" leaves it.
    """
    mean = np.einsum("ct,ctd->cd", weights, np.asarray(prompts.mean, np.float64))
    variance = np.exp(np.asarray(prompts.log_var, np.float64))
    variance = np.einsum("ct,ctd->cd", weights**2, variance)
    return _classes(_unit(mean) if form == "exact" else mean, variance)


def reweight_prompts(
    prompts: Gaussian,
    images: Gaussian,
    *,
    support: Sequence[np.ndarray] | None = None,
    neighbours: int = 10,
    draws: int = 10,
    alpha: float = 5.0,
    multiplier: float = 1.0,
    floor: float = 0.02,
    prior: Prior = "inverse",
    seed: int = 0,
    form: Form = "exact",
) -> tuple[Gaussian, np.ndarray]:
    """Bayesian prompt re-weighting: classes whose prompts are weighted by what images say.

    Args:
      prompts: [classes, prompts, dim].
      images: whose Gaussians are drawn from.
      support: for each class, numbers of images known to belong to it (few-shot), which should not
        be evaluated on; None takes the `neighbours` images nearest to the class, without labels.
      neighbours: without `support`.
      draws: samples of each image.
      alpha: see `mixture_weights`, as the rest.
      multiplier: of the prompts' variances.
      floor: added to them.
      prior: the start.
      seed: of the draws.
      form: "released" is as the published code, without its unseeded draws.

    Returns:
      The classes, and the weights, Float64[classes, prompts].

    Raises:
      ValueError: a class has no image to learn from.
    """
    mean, log_var = np.asarray(prompts.mean), np.asarray(prompts.log_var)
    if support is None:
        uniform = filtered(prompts, np.ones(mean.shape[:2], bool))
        support = list(nearest_images(images, uniform, neighbours))
    weights = np.empty(mean.shape[:2])
    rng = np.random.default_rng(seed)
    for c, chosen in enumerate(support):
        if len(chosen) == 0:
            raise ValueError(f"class {c} has no image to weight its prompts by")
        own = host_gaussian(np.asarray(images.mean)[chosen], np.asarray(images.log_var)[chosen])
        samples = draw_samples(own, rng.standard_normal((len(chosen), draws, mean.shape[-1])))
        weights[c] = mixture_weights(
            samples,
            host_gaussian(mean[c], log_var[c]),
            alpha=alpha,
            multiplier=multiplier,
            floor=floor,
            prior=prior,
            form=form,
        )
    return reweighted(prompts, weights, form), weights


def _step(log_likelihood: np.ndarray, weights: np.ndarray, alpha: float) -> np.ndarray:
    with np.errstate(divide="ignore"):  # A weight of zero stays zero.
        joint = log_likelihood + np.log(weights)
    joint -= joint.max(1, keepdims=True)
    responsibility = np.exp(joint)
    responsibility /= responsibility.sum(1, keepdims=True)
    new = np.maximum(responsibility.sum(0) + alpha - 1, 0)
    return new / new.sum() if new.sum() > 0 else weights


def _log_likelihood(samples: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Float[samples, prompts], without the constant; products, no [samples, prompts, dim]."""
    precision = 1 / variance
    squares = samples**2 @ precision.T - 2 * samples @ (mean * precision).T
    return -(squares + (mean**2 * precision + np.log(variance)).sum(1)) / 2


def _check_traces(uncertainty: np.ndarray) -> None:
    check_numbers(~np.isnan(uncertainty).any(1), "the uncertainty of class")


def _with_least(uncertainty: np.ndarray, keep: np.ndarray) -> np.ndarray:
    _check_traces(uncertainty)
    least = np.zeros_like(keep)
    least[np.arange(len(keep)), uncertainty.argmin(1)] = True
    return keep | least


def _unit(mean: np.ndarray) -> np.ndarray:
    return mean / np.linalg.norm(mean, axis=-1, keepdims=True)


def _classes(mean: np.ndarray, variance: np.ndarray) -> Gaussian:
    with np.errstate(divide="ignore"):  # Zero variance stays zero: a log of minus infinity.
        log_var = np.log(variance)
    return host_gaussian(mean.astype(np.float32), log_var.astype(np.float32))
