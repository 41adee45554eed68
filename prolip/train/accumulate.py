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

    parts = [split(p.inputs, p.num_parts) for p in passes]
    embeddings = [
        merge(jax.lax.map(lambda x, p=p: p.encode(params, x), inputs))
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

        grads, _ = jax.lax.scan(add, grads, (inputs, split(cotangent, p.num_parts)))
    return value, grads


def split(tree: Any, num_parts: int) -> Any:
    """[rows, ...] to [parts, rows / parts, ...]: part k has the rows k, k + parts, ...

    Interleaved, so that every device keeps its own rows and nothing moves.
    """

    def one(x: jax.Array) -> jax.Array:
        shape = (len(x) // num_parts, num_parts, *x.shape[1:])
        x = sharding.reshape(x, shape, "batch", *("dim",) * (len(shape) - 1))
        return jnp.moveaxis(x, 1, 0)

    return jax.tree.map(one, tree)


def merge(tree: Any) -> Any:
    """The inverse of `split`."""

    def one(x: jax.Array) -> jax.Array:
        shape = (x.shape[0] * x.shape[1], *x.shape[2:])
        return sharding.reshape(jnp.moveaxis(x, 0, 1), shape, "batch", *("dim",) * (len(shape) - 1))

    return jax.tree.map(one, tree)
