"""Attention in bfloat16 stays near that of float32, also with logits that are not small."""

import jax
import jax.numpy as jnp
import pytest

from prolip.models.attention import attend
from prolip.models.layers import activate


@pytest.mark.parametrize(("spread", "limit"), [(1.0, 0.01), (3.0, 0.05)])
@pytest.mark.parametrize("head_dim", [64, 72])
def test_outputs_and_gradients_are_near_those_of_float32(spread, limit, head_dim):
    keys = jax.random.split(jax.random.key(0), 4)
    query, key, value, cotangent = (jax.random.normal(k, (2, 66, 4, head_dim)) for k in keys)
    wide = (spread * query, spread * key, value)

    def result(inputs):
        out, pull = jax.vjp(attend, *inputs)
        return [out, *pull(cotangent.astype(out.dtype))]

    narrow = jax.tree.map(lambda x: x.astype(jnp.bfloat16), wide)
    for got, wanted in zip(result(narrow), result(wide), strict=True):
        assert got.dtype == jnp.bfloat16
        error = jnp.linalg.norm(got.astype(jnp.float32) - wanted) / jnp.linalg.norm(wanted)
        assert error < limit


def test_gelu_is_the_exact_one():
    x = jnp.linspace(-8, 8, 10_001)
    wanted = jax.nn.gelu(x, approximate=False)
    assert jnp.abs(activate(x, "gelu") - wanted).max() < 2e-6
    slopes = jax.vmap(jax.grad(lambda x: activate(x, "gelu")))(x)
    assert jnp.abs(slopes - jax.vmap(jax.grad(jax.nn.gelu))(x)).max() < 2e-3  # Of the tanh form.
