"""Gradients of a loss over the whole batch, with the towers run on a part of it at a time.

A contrastive loss of a micro-batch is another loss, so gradients of micro-batches can't be added.
Instead: all parts are embedded without keeping activations, the loss of the whole batch gives the
gradient of each embedding, and each part is embedded again to carry it to the parameters. Exact;
it costs one more forward pass. Source: arXiv 2101.06983; open_clip's `--accum-freq` does the same.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from prolip import sharding


class Pass(NamedTuple):
    """One way through the towers."""

    encode: Callable[[Any, Any], Any]  # (params, inputs) -> embeddings, row by row.
    inputs: Any  # Tree of arrays [rows, ...].
    num_parts: int


def value_and_grad(
    loss: Callable[[Any, Sequence[Any]], tuple[jax.Array, Any]],
    params: Any,
    passes: Sequence[Pass],
) -> tuple[tuple[jax.Array, Any], Any]:
    """Value, auxiliary output and parameter gradient of `loss(params, embeddings of each pass)`."""
    if all(p.num_parts == 1 for p in passes):

        def whole(params: Any) -> tuple[jax.Array, Any]:
            return loss(params, [p.encode(params, p.inputs) for p in passes])

        return jax.value_and_grad(whole, has_aux=True)(params)

    parts = [_split(p.inputs, p.num_parts) for p in passes]
    embeddings = [
        jax.tree.map(sharding.merge_rows, jax.lax.map(lambda x, p=p: p.encode(params, x), inputs))
        for p, inputs in zip(passes, parts, strict=True)
    ]
    value, (grads, cotangents) = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(
        params, embeddings
    )
    for p, inputs, cotangent in zip(passes, parts, cotangents, strict=True):

        def add(grads: Any, part: Any, p: Pass = p) -> tuple[Any, None]:
            inputs, cotangent = part
            _, pull = jax.vjp(lambda params: p.encode(params, inputs), params)
            return jax.tree.map(jnp.add, grads, pull(cotangent)[0]), None

        grads, _ = jax.lax.scan(add, grads, (inputs, _split(cotangent, p.num_parts)))
    return value, grads


def _split(tree: Any, num_parts: int) -> Any:
    return jax.tree.map(lambda x: sharding.split_rows(x, num_parts), tree)
