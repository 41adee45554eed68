"""A directory with two checkpoints."""

import pytest
from checkpoint_trees import mesh_of, tree_of

from prolip.checkpoint import CheckpointStore


@pytest.fixture
def mesh():
    return mesh_of(2)


@pytest.fixture
def two_steps(tmp_path, mesh):
    """Directory with the good steps 1 and 2."""
    with CheckpointStore(tmp_path / "checkpoints", write=True) as store:
        for step in (1, 2):
            store.save(
                step,
                {"params": tree_of(mesh, step), "optimizer": {"mu": tree_of(mesh, step + 10)}},
                {"step": step, "position": 123},
                {"tokenizer.json": b'{"a": 1}', "nested/vocabulary.txt": b"cat"},
            )
        store.wait()
    return tmp_path / "checkpoints"
