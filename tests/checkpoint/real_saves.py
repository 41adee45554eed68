"""Saves of a run as fast as it can, until it is killed; or of two processes together.

Run as a script by the tests.
"""

import sys

import jax
import numpy as np
from checkpoint_trees import abstract_of, same, tree_of
from jax.sharding import AxisType

from prolip.checkpoint import CheckpointStore
from prolip.checkpoint.agreement import differing
from prolip.config import CheckpointConfig


def endless(directory):
    """Goes on from the newest step; the arrays of a step follow from its number."""
    jax.config.update("jax_num_cpu_devices", 2)
    mesh = jax.make_mesh((2,), ("fsdp",), axis_types=(AxisType.Explicit,))
    with CheckpointStore(directory, write=True, keep=CheckpointConfig(keep_latest=2)) as store:
        step = store.latest() or 0
        if step:
            assert same(
                store.restore(step, "params", abstract_of(tree_of(mesh))), tree_of(mesh, step)
            )
        print(step, flush=True)
        while True:
            step += 1
            store.save(step, {"params": tree_of(mesh, step)}, {"step": step}, {"a": b"b"})
            store.check()


def together(directory, port, process):
    """Two processes compare words, save and restore, onto a mesh in another order, and delete."""
    jax.config.update("jax_num_cpu_devices", 2)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", 2, process)
    axes = {"axis_names": ("fsdp",), "axis_types": (AxisType.Explicit,)}
    mesh = jax.make_mesh((4,), **axes)
    turned = jax.sharding.Mesh(np.array(jax.devices())[::-1], **axes)
    with CheckpointStore(directory, write=True, keep=CheckpointConfig(keep_latest=2)) as store:
        assert store.latest() is None
        assert differing(b"the same") == [] and differing(f"process {process}".encode()) == [1]
        for step in (1, 2, 3):
            store.save(step, {"params": tree_of(mesh, step)}, {"step": step}, {})
            store.wait()
        assert store.latest() == 3 and store.meta(3) == {"step": 3}
        want = tree_of(turned, 3)
        with store.read_lease(3):
            got = store.restore(3, "params", abstract_of(want))
        for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            for a, b in zip(x.addressable_shards, y.addressable_shards, strict=True):
                assert np.asarray(a.data).tobytes() == np.asarray(b.data).tobytes()
        assert store.steps() == [2, 3]
    jax.distributed.shutdown()
    print("good")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        endless(sys.argv[1])
    else:
        together(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
