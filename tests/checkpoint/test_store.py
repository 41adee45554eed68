"""Saving and restoring: every bit, every mesh, every refusal."""

import errno
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkpoint_trees import abstract_of, mesh_of, same, save, tree_of
from jax.sharding import NamedSharding, PartitionSpec

from prolip.checkpoint import CheckpointError, CheckpointStore, durable


@pytest.mark.parametrize("saved_on", [8, 3])
def test_restores_bitwise_on_any_number_of_devices(tmp_path, saved_on):
    tree = tree_of(mesh_of(saved_on), 3)
    with CheckpointStore(tmp_path, write=True) as store:
        save(store, 3, tree)
        for count in (1, 2, 3, 4, 8):
            abstract = abstract_of(tree, mesh_of(count))
            with jax.set_mesh(mesh_of(count)):
                restored = store.restore(3, "params", abstract)
            assert same(restored, tree)
            got, want = jax.tree.leaves(restored), jax.tree.leaves(abstract)
            assert [x.sharding for x in got] == [x.sharding for x in want]


def test_donating_and_overwriting_right_after_save_changes_nothing(tmp_path, mesh):
    step = jax.jit(lambda t: jax.tree.map(lambda x: x + jnp.ones((), x.dtype), t), donate_argnums=0)
    big = NamedSharding(mesh, PartitionSpec("fsdp"))
    tree = {"a": jax.device_put(np.arange(2.0**18, dtype=np.float32), big), **tree_of(mesh)}
    want = {}
    with CheckpointStore(tmp_path, write=True) as store:
        for number in range(5):
            want[number] = jax.tree.map(np.array, tree)
            store.save(number, {"params": tree}, {}, {})
            for _ in range(5):
                tree = step(tree)
        store.wait()
        for number, expected in want.items():
            assert same(store.restore(number, "params", abstract_of(tree)), expected)


def test_meta_and_assets_come_back_as_they_were_at_save(tmp_path, mesh):
    meta = {"step": 1, "position": {"sample": 12345678901234}, "names": ["é", None, 0.1]}
    assets = {"tokenizer.json": bytes(range(256)), "a/b/c": b""}
    with CheckpointStore(tmp_path, write=True) as store:
        changing = dict(meta)
        store.save(1, {"params": tree_of(mesh)}, changing, assets)
        changing["position"] = None
        store.wait()
        assert store.meta(1) == meta and store.assets(1) == assets


def test_a_step_exists_only_when_before_commit_has_run(tmp_path, mesh):
    seen, go = [], threading.Event()
    with CheckpointStore(tmp_path, write=True) as store:
        reader = CheckpointStore(tmp_path, write=False)

        def before_commit():
            seen.append((reader.steps(), reader.latest()))
            go.wait(10)

        store.save(1, {"params": tree_of(mesh)}, {}, {}, before_commit)
        assert reader.steps() == []  # Training goes on meanwhile.
        go.set()
        store.wait()
        assert seen == [([], None)] and reader.steps() == [1] and reader.latest() == 1


def test_lists_every_difference_at_once(tmp_path, mesh):
    tree = tree_of(mesh)
    asked = abstract_of(tree)
    tower = asked["tower"]
    kernel = tower["kernel"]
    tower["kernel"] = jax.ShapeDtypeStruct((24, 4), kernel.dtype, sharding=kernel.sharding)
    asked["new"] = kernel
    asked["count"] = jax.ShapeDtypeStruct((), jnp.int16, sharding=asked["count"].sharding)
    del tower["['mu'].x/y"]
    with CheckpointStore(tmp_path, write=True) as store:
        save(store, 1, tree)
        with pytest.raises(CheckpointError) as e:
            store.restore(1, "params", asked)
        for line in (
            "new: missing in the checkpoint",
            "tower/['mu'].x/y: in the checkpoint (bfloat16[5]), not asked for",
            "tower/kernel: float32[24, 3] in the checkpoint, float32[24, 4] asked for",
            "count: int32[] in the checkpoint, int16[] asked for",
        ):
            assert line in str(e.value)
        no_place = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), tree)
        with pytest.raises(CheckpointError, match="count: has no sharding over devices"):
            store.restore(1, "params", no_place)
        with pytest.raises(CheckpointError, match=r"no item 'optimizer'; it has: params"):
            store.restore(1, "optimizer", asked)
        with pytest.raises(CheckpointError, match=r"no checkpoint 7.*there are: 1"):
            store.restore(7, "params", asked)


@pytest.mark.parametrize(
    ("items", "meta", "assets", "message"),
    [
        ({"p": {"a": np.ones(3)}}, {}, {}, "p/a is a ndarray"),
        ({"p": {}}, {}, {}, "no arrays"),
        ({"p": {"a": jnp.zeros((0, 2))}}, {}, {}, "p/a has no elements"),
        ({"p": {"a.b": jnp.ones(1), "a": {"b": jnp.ones(1)}}}, {}, {}, "stored as 'a.b'"),
        ({"p": {"k": jax.random.key(0)}}, {}, {}, "key_data"),
        ({"assets": {"a": jnp.ones(1)}}, {}, {}, "'assets' can't be the name"),
        ({"p": {"a": jnp.ones(1)}}, {"a": object()}, {}, "is not JSON"),
        ({"p": {"a": jnp.ones(1)}}, {}, {"../a": b""}, "'../a' can't be the path"),
        ({"p": {"a": jnp.ones(1)}}, {}, {"/a": b""}, "'/a' can't be the path"),
    ],
)
def test_refuses_what_would_not_come_back(tmp_path, items, meta, assets, message):
    with CheckpointStore(tmp_path, write=True) as store:
        with pytest.raises(CheckpointError) as e:
            store.save(1, items, meta, assets)
        assert message in str(e.value)
        assert store.latest() is None


@pytest.mark.parametrize("url", ["s3://bucket/run", "gs://bucket/run"])
def test_urls_are_answered_with_what_to_do(url):
    for write in (True, False):
        with pytest.raises(CheckpointError, match="mount the bucket"):
            CheckpointStore(url, write=write)


def test_an_unwritable_place_is_found_at_once(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    for write in (True, False):
        with pytest.raises(CheckpointError, match="is a file"):
            CheckpointStore(tmp_path / "file", write=write)
    with pytest.raises(CheckpointError, match=r"can't be written.*choose another"):
        CheckpointStore("/proc/checkpoints", write=True)

    def full(path, data):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(durable, "write_new", full)
    with pytest.raises(CheckpointError, match="Read-only file system"):
        CheckpointStore(tmp_path / "new", write=True)


def test_a_reader_may_come_before_the_directory(tmp_path):
    store = CheckpointStore(tmp_path / "later", write=False)
    assert store.steps() == [] and store.latest() is None
    assert not (tmp_path / "later").exists()
    with pytest.raises(CheckpointError, match="opened for reading"):
        store.save(1, {}, {}, {})
