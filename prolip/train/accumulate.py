"""Gradients of a loss over the whole batch, with the towers run on a part of it at a time.

A contrastive loss of a micro-batch is another loss, so gradients of micro-batches can't be added.
Instead: all parts are embedded without keeping activations, the loss of the whole batch gives the
gradient of each embedding, and each part is embedded again to carry it to the parameters. Exact;
it costs one more forward pass. Source: arXiv 2101.06983; open_clip's `--accum-freq` does the same.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from prolip import sharding
from prolip.train.frozen import merge


class Pass(NamedTuple):
    """One way through the towers."""

    encode: Callable[[Any, Any, Any], Any]  # (params, inputs, shared) -> embeddings, row by row.
    inputs: Any  # Tree of arrays [rows, ...]; of other numbers of rows only where num_parts is 1.
    num_parts: int
    shared: Any = None  # Tree of arrays that all rows have in common.


def value_and_grad(
    loss: Callable[[Any, Sequence[Any]], tuple[jax.Array, Any]],
    params: Any,
    passes: Sequence[Pass],
    frozen: Any,
) -> tuple[tuple[jax.Array, Any], Any]:
    """Value, auxiliary output and parameter gradient of `loss(params, embeddings of each pass)`.

    The gradient of the towers, of all passes and parts, is exchanged once: `sharding.per_device`.
    The `frozen` parameters, {} where there are none, get none: they belong to those of the towers,
    and nothing is kept or computed for them on the way back.
    """
    arrays = [(p.inputs, p.shared) for p in passes]
    rows, common = sharding.spec("batch"), sharding.spec()
    layouts = [(rows, common)] * len(passes)
    towers = sharding.per_device(functools.partial(_embed, passes), (common, layouts), rows)
    if all(p.num_parts == 1 for p in passes):

        def whole(params: Any) -> tuple[jax.Array, Any]:
            return loss(params, towers(merge(params, frozen), arrays))

        return jax.value_and_grad(whole, has_aux=True)(params)

    value, (grads, cotangents) = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(
        params, towers(merge(params, frozen), arrays)
    )
    layouts_in = (common, common, layouts, rows)
    pull = sharding.per_device(functools.partial(_pull, passes), layouts_in, common)
    towers_grads = sharding.like(params, pull(params, frozen, arrays, cotangents))
    return value, jax.tree.map(jnp.add, grads, towers_grads)


def _embed(passes: Sequence[Pass], params: Any, arrays: Sequence[tuple[Any, Any]]) -> list[Any]:
    """Embeddings of each pass; in parts, nothing is kept but them."""
    found = []
    for p, (inputs, shared) in zip(passes, arrays, strict=True):
        if p.num_parts == 1:
            found.append(p.encode(params, inputs, shared))
            continue

        def encode(part: Any, p: Pass = p, shared: Any = shared) -> Any:
            return p.encode(params, part, shared)

        parts = jax.lax.map(encode, _split(inputs, p.num_parts))
        found.append(jax.tree.map(sharding.merge_rows, parts))
    return found


def _pull(
    passes: Sequence[Pass],
    params: Any,
    frozen: Any,
    arrays: Sequence[tuple[Any, Any]],
    cotangents: list[Any],
) -> Any:
    """Gradient of the parameters from that of the embeddings, part by part."""
    grads = jax.tree.map(jnp.zeros_like, params)
    for p, (inputs, shared), cotangent in zip(passes, arrays, cotangents, strict=True):

        def add(grads: Any, part: Any, p: Pass = p, shared: Any = shared) -> tuple[Any, None]:
            inputs, cotangent = part
            _, pull = jax.vjp(lambda own: p.encode(merge(own, frozen), inputs, shared), params)
            return jax.tree.map(jnp.add, grads, pull(cotangent)[0]), None

        parts = (_split(inputs, p.num_parts), _split(cotangent, p.num_parts))
        grads, _ = jax.lax.scan(add, grads, parts)
    return sharding.sum_over_devices(grads)


def _split(tree: Any, num_parts: int) -> Any:
    return jax.tree.map(lambda x: sharding.split_rows(x, num_parts), tree)
