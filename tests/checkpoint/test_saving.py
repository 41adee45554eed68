"""Saves that fail, steps that leave, readers in the way, and what is left at the end."""

import dataclasses
import errno
import logging
import subprocess
import threading
import time

import jax.numpy as jnp
import numpy as np
import pytest
from checkpoint_trees import abstract_of, same, save, tree_of

from prolip.checkpoint import CheckpointError, CheckpointStore, LeaseHeld, durable, lease, saving
from prolip.config import CheckpointConfig


def test_a_failed_save_is_raised_at_the_next_check_and_later_ones_work(tmp_path, mesh, monkeypatch):
    tree = tree_of(mesh)
    with CheckpointStore(tmp_path, write=True) as store:
        save(store, 1, tree)
        broken = [0]

        def commit(path, data):
            broken[0] += 1
            raise OSError(errno.ENOSPC, "No space left on device")

        for name in ("write_new", "sync_tree", "replace"):
            with monkeypatch.context() as patch:
                patch.setattr(durable, name, commit)
                if name == "sync_tree":
                    patch.setattr(durable, name, lambda path: commit(path, b""))
                store.save(2, {"params": tree}, {}, {})
                store._writer._saver.join()
            with pytest.raises(CheckpointError, match=r"checkpoint 2 failed: the disk of .* full"):
                store.check()
            store.check()  # Once.
            assert store.steps() == [1]
            assert not list(tmp_path.glob("2*")) and not list((tmp_path / "trash").iterdir())
        assert broken[0] >= 3
        save(store, 2, tree)
        assert store.latest() == 2 and store.verify(2) == []


@pytest.mark.parametrize("stage", ["save", "wait_until_finished"])
def test_a_failure_inside_orbax_does_not_take_the_next_save_down(
    tmp_path, mesh, monkeypatch, stage
):
    original = getattr(saving.ocp.AsyncCheckpointer, stage)
    left = [1]

    def failing(self, *args, **kwargs):
        original(self, *args, **kwargs)
        if left[0] and (stage == "save" or threading.current_thread().name == "save 2"):
            left[0] -= 1
            raise ValueError("RESOURCE_EXHAUSTED: no room")

    tree = tree_of(mesh)
    with CheckpointStore(tmp_path, write=True) as store:
        save(store, 1, tree)
        monkeypatch.setattr(saving.ocp.AsyncCheckpointer, stage, failing)
        store.save(2, {"params": tree}, {}, {})
        store.save(3, {"params": tree}, {}, {})  # Not the victim of 2.
        with pytest.raises(CheckpointError, match=r"checkpoint 2 failed.*is full"):
            store.wait()
        store.wait()
        assert store.steps() == [1, 3] and store.latest() == 3
        assert not list(tmp_path.glob("*orbax*")) and not (tmp_path / "2").exists()


def test_a_full_disk_loses_only_the_saves_that_did_not_fit(tmp_path, mesh):
    """On a real file system of 2 MB, with free space again later."""
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", tmp_path], capture_output=True
    ).returncode:
        pytest.skip("a small file system can be mounted by root only")
    draw = np.random.default_rng(0)
    tree = {"a": jnp.asarray(draw.normal(size=100_000).astype(np.float32))}
    try:
        with CheckpointStore(tmp_path / "c", write=True) as store:
            failed = []
            for step in range(7):
                if step == 6:
                    (tmp_path / "c" / "filler").write_bytes(b"")
                store.save(step, {"params": tree}, {}, {})
                if step == 1:
                    (tmp_path / "c" / "filler").write_bytes(bytes(600_000))
                try:
                    store.wait()
                except CheckpointError as e:
                    assert "is full" in str(e)
                    failed.append(step)
                there = {p.name for p in (tmp_path / "c").iterdir()}
                assert not any("orbax" in name for name in there)
            assert failed and max(failed) == 5 and not {0, 6} & set(failed)
            assert store.steps() == sorted(set(range(7)) - set(failed))
            assert all(store.verify(step) == [] for step in store.steps())
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def test_before_commit_failing_fails_the_save(tmp_path, mesh):
    def before_commit():
        raise OSError("metrics.jsonl can't be written")

    store = CheckpointStore(tmp_path, write=True)
    store.save(1, {"params": tree_of(mesh)}, {}, {}, before_commit)
    with pytest.raises(CheckpointError, match=r"checkpoint 1 failed.*metrics.jsonl"):
        store.close()
    assert CheckpointStore(tmp_path, write=False).steps() == []


def test_a_step_is_saved_once_by_one_object_and_again_by_the_next(tmp_path, mesh):
    trees = [tree_of(mesh, seed) for seed in range(3)]
    with CheckpointStore(tmp_path, write=True) as store:
        store.save(1, {"params": trees[0]}, {}, {})
        save(store, 1, trees[1])
        first = store.manifest_hash(1)
        assert same(store.restore(1, "params", abstract_of(trees[0])), trees[0])
    with CheckpointStore(tmp_path, write=True) as store:
        save(store, 1, trees[2])
        assert store.manifest_hash(1) != first
        assert same(store.restore(1, "params", abstract_of(trees[0])), trees[2])


def test_keeps_the_latest_the_best_and_what_is_not_evaluated(tmp_path, mesh):
    done = {}
    keep = CheckpointConfig(keep_latest=2, keep_best=1, keep_every=5, best_metric="m")
    with CheckpointStore(tmp_path, write=True, keep=keep, evaluations=lambda: done) as store:
        for step in range(1, 9):
            save(store, step, tree_of(mesh, step))
            done[store.manifest_hash(step)] = {"m": {3: 0.9}.get(step, 0.1)}
        assert store.steps() == [3, 5, 7, 8]
        assert sorted(p.name for p in tmp_path.iterdir() if p.name.isdigit()) == list("3578")
    done.clear()
    keep = dataclasses.replace(keep, hold_unevaluated=True)
    with CheckpointStore(tmp_path, write=True, keep=keep, evaluations=lambda: done) as store:
        for step in (9, 10, 11):
            save(store, step, tree_of(mesh, step))
        assert store.steps() == [3, 5, 7, 8, 9, 10, 11]
        done.update({store.manifest_hash(s): {} for s in store.steps()})
        save(store, 12, tree_of(mesh, 12))
        assert store.steps() == [5, 10, 11, 12]


def test_a_step_under_a_reader_stays_until_the_reader_is_done(tmp_path, mesh):
    tree = tree_of(mesh)
    with CheckpointStore(tmp_path, write=True, keep=CheckpointConfig(keep_latest=1)) as store:
        save(store, 1, tree)
        reader = CheckpointStore(tmp_path, write=False)
        with reader.read_lease(1) as identity:
            assert identity == store.manifest_hash(1)
            for step in (2, 3):
                save(store, step, tree)
            assert store.steps() == [1, 3]
            assert same(reader.restore(1, "params", abstract_of(tree)), tree)
        save(store, 4, tree)
        assert store.steps() == [4]
        with pytest.raises(CheckpointError, match="no checkpoint 1"), reader.read_lease(1):
            pass
        assert not list((tmp_path / "readers").iterdir())


def test_readers_never_lose_a_step_that_they_hold(tmp_path, mesh):
    """Readers and a writer that deletes as fast as it can, in threads."""
    tree = tree_of(mesh)
    wrong, held, stop = [], [0], threading.Event()

    def read():
        store = CheckpointStore(tmp_path, write=False)
        while not stop.is_set():
            for step in store.steps():
                try:
                    with store.read_lease(step):
                        held[0] += 1
                        for _ in range(3):
                            wrong.extend(store.verify(step))
                            time.sleep(0.005)
                except CheckpointError as e:
                    wrong.extend([e] if "or no longer" not in str(e) else [])

    with CheckpointStore(tmp_path, write=True, keep=CheckpointConfig(keep_latest=1)) as store:
        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for step in range(25):
            store.save(step, {"params": tree}, {}, {})
        store.wait()
        stop.set()
        for thread in threads:
            thread.join()
        assert not wrong and held[0] > 10
        save(store, 100, tree)
        assert store.steps() == [100]


def test_a_second_writer_is_refused(tmp_path, mesh):
    with CheckpointStore(tmp_path, write=True) as store:
        with pytest.raises(LeaseHeld, match="close that store first"):
            CheckpointStore(tmp_path, write=True)
        save(store, 1, tree_of(mesh))
    with CheckpointStore(tmp_path, write=True) as store:
        assert store.latest() == 1


def test_read_only_media_are_read_without_a_lease(tmp_path, mesh, monkeypatch, caplog):
    with CheckpointStore(tmp_path, write=True) as store:
        save(store, 1, tree_of(mesh))

    def read_only(path, seconds, **_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(lease, "Lease", read_only)
    reader = CheckpointStore(tmp_path, write=False)
    with reader.read_lease(1):
        assert same(reader.restore(1, "params", abstract_of(tree_of(mesh))), tree_of(mesh, 0))
    assert "without a lease" in caplog.text


def test_a_broken_ledger_does_not_fail_the_save(tmp_path, mesh, caplog):
    def evaluations():
        raise ValueError("evals.jsonl: line 3")

    keep = CheckpointConfig(keep_latest=1)
    with CheckpointStore(tmp_path, write=True, keep=keep, evaluations=evaluations) as store:
        save(store, 1, tree_of(mesh))
        save(store, 2, tree_of(mesh))
        assert store.steps() == [1, 2] and "line 3" in caplog.text


def test_threads_end_with_the_store(tmp_path, mesh):
    before = set(threading.enumerate())
    store = CheckpointStore(tmp_path, write=True)
    store.save(1, {"params": tree_of(mesh)}, {}, {})
    store.wait()
    with store.read_lease(1):
        pass
    store.close()
    store.close()
    assert set(threading.enumerate()) <= before
    assert CheckpointStore(tmp_path, write=False).latest() == 1


@pytest.mark.parametrize("name", ["[brackets]", "star*", "what?"])
def test_a_directory_named_like_a_pattern_is_saved_whole_and_read(name, tmp_path, mesh):
    tree = tree_of(mesh)
    with CheckpointStore(tmp_path / name, write=True) as store:
        save(store, 1, tree)
        assert same(store.restore(1, "params", abstract_of(tree)), tree)
        assert store.verify(1) == []


def test_tracebacks_of_writes_that_end_after_a_failed_save_are_dropped():
    saving.Saver()
    error = ValueError('writing "/run/checkpoints/10.orbax-checkpoint-tmp/params" failed')
    shown = logging.LogRecord("asyncio", 40, "base_events.py", 1, "x", None, (None, None, None))
    late = logging.LogRecord(
        "asyncio", 40, "base_events.py", 1, "x", None, (ValueError, error, None)
    )
    assert logging.getLogger("asyncio").filter(shown)
    assert not logging.getLogger("asyncio").filter(late)
