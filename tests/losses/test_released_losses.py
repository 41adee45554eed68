"""Loss terms and their gradients against the released PyTorch code."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prolip import gaussian, losses
from prolip.config import ObjectiveConfig
from prolip.gaussian import Gaussian
from prolip.losses.objective import Embeddings, objective

FIXTURES = Path(__file__).parents[1] / "fixtures"
HYPER = json.loads((FIXTURES / "losses.json").read_text())
DATA = np.load(FIXTURES / "losses.npz")
CASES = ["paper", "script_eps20", "long", "unit", "unit_eps0", "nomask", "ppcl_only"]
INPUTS = ["image_mean", "image_std", "text_mean", "text_std"]
MASKED = [f"masked_{name}" for name in INPUTS]
TERMS = {
    "ppcl": "loss/ppcl",
    "img_inclusion": "loss/inclusion_masked_image",
    "txt_inclusion": "loss/inclusion_masked_text",
    "inclusion": "loss/inclusion_image_text",
    "vib": "loss/bottleneck",
}


def config_of(case):
    hyper = HYPER[case]["hyperparameters"]
    masked = hyper["inclusion_alpha_occ"]
    return ObjectiveConfig(
        ppcl=hyper["ppcl_lambda"],
        bottleneck=hyper["vib_beta"],
        inclusion_image_text=hyper["inclusion_alpha"],
        inclusion_masked=masked,
        inclusion_scale=float(hyper["inclusion_loss_scale"]),
        inclusion_eps=float(hyper["inclusion_loss_eps"]),
        form="released",
    )


def total(x, config, has_masks):
    image, text = Gaussian(x["image_mean"], x["image_std"]), Gaussian(x["text_mean"], x["text_std"])
    originals = masked = None
    if has_masks:
        masked = (
            Gaussian(x["masked_image_mean"], x["masked_image_std"]),
            Gaussian(x["masked_text_mean"], x["masked_text_std"]),
        )
        n = len(masked[0].mean)
        originals = tuple(Gaussian(g.mean[:n], g.log_var[:n]) for g in (image, text))
    ids = jnp.arange(1, len(image.mean) + 1)
    return objective(
        config,
        Embeddings(image, text, originals, masked),
        x["logit_scale"],
        x["logit_bias"],
        ids[:, None],
        ids,
    )


def weight(config, name):
    return {
        "ppcl": config.ppcl,
        "vib": config.bottleneck,
        "inclusion": config.inclusion_image_text,
    }.get(name, config.inclusion_masked)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_terms_and_gradients(case, dtype):
    suffix = "_f64" if dtype == "float64" else ""
    config = config_of(case)
    has_masks = HYPER[case]["masked"]
    with jax.enable_x64(dtype == "float64"):
        names = [*INPUTS, *(MASKED if has_masks else []), "logit_scale", "logit_bias"]
        x = {name: jnp.asarray(DATA[f"in_{name}"], dtype) for name in names}
        (value, metrics), grads = jax.jit(
            jax.value_and_grad(lambda x: total(x, config, has_masks), has_aux=True)
        )(x)
        value, metrics, grads = jax.tree.map(np.asarray, (value, metrics, grads))
    # float32 of the reference is only as good as float32; float64 must agree to rounding.
    rtol = 1e-9 if suffix else 1e-5
    np.testing.assert_allclose(value, DATA[f"{case}/total{suffix}"], rtol=rtol)
    for theirs, ours in TERMS.items():
        key = f"{case}/term_{theirs}{suffix}"
        if key in DATA and ours in metrics:
            expected = DATA[key]
            np.testing.assert_allclose(
                weight(config, theirs) * metrics[ours], expected, rtol=rtol, err_msg=theirs
            )
    atol = 1e-9 if suffix else (1e-3 if config.inclusion_scale >= 1000 else 1e-4)
    for name, got in grads.items():
        expected = DATA[f"{case}/grad_{name}{suffix}"]
        largest = np.abs(expected).max()
        np.testing.assert_allclose(got, expected, atol=atol * largest + 1e-30, err_msg=name)


def test_siglip_and_clip():
    image, text = jnp.asarray(DATA["in_image_mean"]), jnp.asarray(DATA["in_text_mean"])
    scale, bias = jnp.asarray(DATA["in_logit_scale"]), jnp.asarray(DATA["in_logit_bias"])
    for prefix, f, args in (
        ("clip", losses.clip, (image, text, scale)),
        ("siglip_loss", losses.siglip, (image, text, scale, bias)),
    ):
        names = ["image_mean", "text_mean", "logit_scale", "logit_bias"][: len(args)]
        value, grads = jax.value_and_grad(f, argnums=tuple(range(len(args))))(*args)
        np.testing.assert_allclose(value, DATA[f"{prefix}/total"], rtol=1e-5)
        for name, got in zip(names, grads, strict=True):
            expected = DATA[f"{prefix}/grad_{name}"]
            np.testing.assert_allclose(
                got, expected, atol=1e-4 * np.abs(expected).max(), err_msg=name
            )


@pytest.mark.parametrize("eps", [0, -5, -10])
def test_one_sided_inclusion_of_all_pairs_and_of_each_dimension(eps):
    data = np.load(FIXTURES / "inclusion.npz")
    with jax.enable_x64(True):
        a = Gaussian(*(jnp.asarray(data[k], jnp.float64) for k in ("mu1", "logsigma_sq1")))
        b = Gaussian(*(jnp.asarray(data[k], jnp.float64) for k in ("mu2", "logsigma_sq2")))
        pairs = gaussian.log_overlap(a, b, eps=float(eps), form="released")
        rows = gaussian.log_overlap_terms(
            a.mean, a.log_var, b.mean[:8], b.log_var[:8], eps=float(eps), form="released"
        )
    np.testing.assert_allclose(pairs, data[f"batchwise_eps{eps}_f64"], rtol=1e-9)
    np.testing.assert_allclose(rows, data[f"elementwise_eps{eps}_f64"], rtol=1e-9)
