"""Sums over all pairs of a global batch whose memory doesn't grow with its square.

Knows no formula: a `Block` gives the sum over one block of pairs and its gradients. The loss is a
scalar, so that the gradients can be made in the forward pass and only be scaled in the backward
pass: three products for a sigmoid loss, the least that there is, and nothing of the size of the
pairs is kept. Over several devices the images stay where they are; the texts are gathered, or go
round a ring where they would take too much memory.

Source: the fused form is that of Inf-CL (arXiv 2410.17243); the ring that of SigLIP (2303.15343).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from prolip import sharding

PAIRS = 1 << 22  # Of a block: 16 MiB of float32 for each array of pairs that is alive.
GATHERED_BYTES = 1 << 30  # Of the texts of all devices and their gradients; more go round.

Tree = Any


class Sums(NamedTuple):
    """What a block gives, and so do all blocks together."""

    value: jax.Array  # Scalar.
    statistics: dict[str, jax.Array]  # Scalars that no gradient flows through.
    rows: Tree  # Gradients of `rows` [rows, ...].
    columns: Tree  # Gradients of `columns` [columns, ...].
    scalars: Tree  # Gradients of `scalars`.


# (rows, columns, scalars, row facts, column facts, valid columns or None) -> sums of the block.
Block = Callable[[Tree, Tree, Tree, Tree, Tree, jax.Array | None], Sums]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def pair_sum(
    block: Block, rows: Tree, columns: Tree, scalars: Tree, row_facts: Tree, column_facts: Tree
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Value and statistics of all pairs of a row and a column of the global batch.

    Args:
      block: a function of a module, or a partial of one, for a block of pairs.
      rows: tree of float arrays [B, ...], laid out by row; gradients flow to it.
      columns: as many, of the other side.
      scalars: tree of float scalars; gradients flow to it.
      row_facts: tree of arrays [B, ...] that a block needs beside; no gradients.
      column_facts: the same of the other side.
    """
    sums = _run(block, rows, columns, scalars, row_facts, column_facts)
    return sums.value, sums.statistics


def _forward(block: Block, *sides: Tree) -> tuple[Any, Any]:
    sums = _run(block, *sides)
    return (sums.value, sums.statistics), (sums.rows, sums.columns, sums.scalars)


def _backward(block: Block, gradients: Any, cotangents: Any) -> tuple[Any, ...]:
    scaled = jax.tree.map(lambda gradient: cotangents[0] * gradient, gradients)
    return (*scaled, None, None)


pair_sum.defvjp(_forward, _backward)


def over_batch(f: Callable[..., Any], in_layouts: Tree, out_layouts: Tree) -> Callable[..., Any]:
    """`f(*args, axes)` on each device's rows; `axes` is None where no mesh is set.

    Layouts are trees of True (split by row) and False (the same everywhere).
    """
    if sharding.no_mesh():
        return functools.partial(f, axes=None)
    axes = sharding.spec("batch")[0]
    specs = {True: PartitionSpec(axes), False: PartitionSpec()}
    split = jax.shard_map(
        functools.partial(f, axes=axes),
        in_specs=jax.tree.map(specs.get, in_layouts),
        out_specs=jax.tree.map(specs.get, out_layouts),
        check_vma=False,  # Gradients are made by hand: nothing here is differentiated.
    )

    def run(*args: Tree) -> Tree:
        placed = (
            jax.tree.map(lambda x, layout=layout: jax.sharding.reshard(x, specs[layout]), tree)
            for tree, layout in zip(args, in_layouts, strict=True)
        )
        return split(*placed)

    return run


def _run(block: Block, *sides: Tree) -> Sums:
    layouts = Sums(False, False, True, True, False)  # type: ignore[arg-type]
    columns, facts = sides[1], sides[4]
    # The gradients are of the size of the texts, in float32.
    gathered = 2 * sum(x.nbytes for x in jax.tree.leaves((columns, facts)))
    scheme = _ring if gathered > GATHERED_BYTES else _gather
    run = over_batch(functools.partial(scheme, block), (True, True, False, True, True), layouts)
    return run(*sides)


def _gather(
    block: Block,
    rows: Tree,
    columns: Tree,
    scalars: Tree,
    row_facts: Tree,
    column_facts: Tree,
    axes: Any,
) -> Sums:
    if axes is None:
        return _chunks(block, rows, columns, scalars, row_facts, column_facts)
    columns, column_facts = gather((columns, column_facts), axes)
    sums = _chunks(block, rows, columns, scalars, row_facts, column_facts)
    scatter = functools.partial(
        jax.lax.psum_scatter, axis_name=axes, scatter_dimension=0, tiled=True
    )
    return _summed(sums, axes)._replace(columns=jax.tree.map(scatter, sums.columns))


def _ring(
    block: Block,
    rows: Tree,
    columns: Tree,
    scalars: Tree,
    row_facts: Tree,
    column_facts: Tree,
    axes: Any,
) -> Sums:
    """The texts of a device and their gradients visit all devices and come home again."""
    if axes is None:
        return _chunks(block, rows, columns, scalars, row_facts, column_facts)
    size = jax.lax.axis_size(axes)
    onward = functools.partial(
        jax.lax.ppermute, axis_name=axes, perm=[(i, (i + 1) % size) for i in range(size)]
    )

    def turn(carry: Any, _: None) -> tuple[Any, None]:
        sums, columns, facts = carry
        here = _chunks(block, rows, columns, scalars, row_facts, facts)
        sums = jax.tree.map(jnp.add, sums, here)
        travels = (sums.columns, columns, facts)
        gradients, columns, facts = jax.tree.map(onward, travels)
        return (sums._replace(columns=gradients), columns, facts), None

    shapes = jax.eval_shape(
        functools.partial(_chunks, block), rows, columns, scalars, row_facts, column_facts
    )
    start = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    (sums, _, _), _ = jax.lax.scan(turn, (start, columns, column_facts), None, length=size)
    return _summed(sums, axes)


def gather(tree: Tree, axes: Any) -> Tree:
    """The rows of all devices, in order."""
    return jax.tree.map(
        functools.partial(jax.lax.all_gather, axis_name=axes, axis=0, tiled=True), tree
    )


def _summed(sums: Sums, axes: Any) -> Sums:
    value, statistics, scalars = jax.lax.psum(
        (sums.value, sums.statistics, sums.scalars), axis_name=axes
    )
    return sums._replace(value=value, statistics=statistics, scalars=scalars)


def _chunks(
    block: Block, rows: Tree, columns: Tree, scalars: Tree, row_facts: Tree, column_facts: Tree
) -> Sums:
    """All columns that this device has, some of them at a time."""

    def one(sums: Any, columns: Tree, facts: Tree, valid: jax.Array | None) -> tuple[Any, Tree]:
        here = block(rows, columns, scalars, row_facts, facts, valid)
        kept = (here.value, here.statistics, here.rows, here.scalars)
        return (kept if sums is None else jax.tree.map(jnp.add, sums, kept)), here.columns

    sums, gradients = scan_chunks(one, length(rows), columns, column_facts)
    value, statistics, row_gradients, scalar_gradients = sums
    return Sums(value, statistics, row_gradients, gradients, scalar_gradients)


def scan_chunks(
    f: Callable[..., tuple[Any, Tree]],
    num_rows: int,
    columns: Tree,
    column_facts: Tree,
) -> tuple[Any, Tree]:
    """`f(carry or None, columns, facts, valid columns or None)` over chunks of the columns.

    Returns:
      The last carry, and the second results of all chunks joined, one row for each column.
    """
    num_columns = length(columns)
    count, size = chunking(num_rows, num_columns)
    if count == 1:
        return f(None, columns, column_facts, None)
    parts = jax.tree.map(functools.partial(_cut, count, size), (columns, column_facts))
    valid = None
    if count * size != num_columns:
        valid = jnp.arange(count * size).reshape(count, size) < num_columns

    # The first chunk outside the scan gives the carry that the others begin with.
    first, rest = (
        jax.tree.map(lambda x, take=take: x[take], (parts, valid)) for take in (0, slice(1, None))
    )
    start, before = f(None, *first[0], first[1])
    carry, after = jax.lax.scan(lambda c, part: f(c, *part[0], part[1]), start, rest)

    def join(head: jax.Array, tail: jax.Array) -> jax.Array:
        whole = jnp.concatenate([head, tail.reshape(-1, *tail.shape[2:])])
        return whole[:num_columns]

    return carry, jax.tree.map(join, before, after)


def chunking(num_rows: int, num_columns: int) -> tuple[int, int]:
    """How many chunks of how many columns; all are used up without padding where that is near."""
    count = -(-num_rows * num_columns // PAIRS)
    if count == 1:
        return 1, num_columns
    even = next((n for n in range(count, 2 * count) if num_columns % n == 0), count)
    return even, -(-num_columns // even)


def _cut(count: int, size: int, x: jax.Array) -> jax.Array:
    fill = [(0, count * size - len(x)), *((0, 0),) * (x.ndim - 1)]
    return jnp.pad(x, fill).reshape(count, size, *x.shape[1:])


def length(tree: Tree) -> int:
    """Rows of the arrays of a tree."""
    return len(jax.tree.leaves(tree)[0])
