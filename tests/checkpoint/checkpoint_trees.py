"""A small tree of arrays on some devices."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec


def mesh_of(count):
    return jax.make_mesh(
        (count,), ("fsdp",), axis_types=(AxisType.Explicit,), devices=jax.devices()[:count]
    )


def tree_of(mesh, seed=0):
    """Sharded, replicated, scalar; three dtypes; keys with dots, slashes and brackets."""
    draw = np.random.default_rng(seed)
    split = NamedSharding(mesh, PartitionSpec("fsdp"))
    whole = NamedSharding(mesh, PartitionSpec())
    return {
        "tower": {
            "kernel": jax.device_put(draw.normal(size=(24, 3)).astype(np.float32), split),
            "['mu'].x/y": jax.device_put(draw.normal(size=(5,)).astype(jnp.bfloat16), whole),
        },
        "count": jax.device_put(np.int32(seed), whole),
    }


def abstract_of(tree, mesh=None):
    """What to restore; on `mesh`, split where the tree is."""

    def leaf(x):
        sharding = x.sharding if mesh is None else NamedSharding(mesh, x.sharding.spec)
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)

    return jax.tree.map(leaf, tree)


def same(a, b):
    """Bitwise, with structure and dtypes."""
    if jax.tree.structure(a) != jax.tree.structure(b):
        return False
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(
        x.dtype == y.dtype and np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in pairs
    )


def save(store, step, tree, **more):
    arguments = {"items": {"params": tree}, "meta": {}, "assets": {}} | more
    store.save(step, **arguments)
    store.wait()
