"""Whatever happens to a file of a step, it is found, named, and the step before is used."""

import hashlib
import json
import os
import random
import shutil

import pytest
from checkpoint_trees import abstract_of, mesh_of, same, tree_of

from prolip.checkpoint import CheckpointError, CheckpointStore
from prolip.checkpoint.manifest import File, Manifest, decode, of_directory


def files_of(directory, step):
    inside = [p for p in (directory / str(step)).rglob("*") if p.is_file()]
    return [*sorted(inside), directory / "manifests" / f"{step}.json"]


def assert_found(directory, path):
    """A fresh reader names exactly `path` and falls back to step 1."""
    told = []
    store = CheckpointStore(
        directory, write=False, on_damage=lambda step, found: told.append((step, found))
    )
    assert store.latest() == 1
    assert [(s, [d.file for d in found]) for s, found in told] == [
        (2, [path.relative_to(directory).as_posix()])
    ]


def flipped(data, index, bit):
    changed = bytearray(data)
    changed[index] ^= 1 << bit
    return bytes(changed)


@pytest.mark.slow
def test_one_flipped_bit_at_every_byte_is_found_and_named(tmp_path, mesh):
    with CheckpointStore(tmp_path, write=True) as store:
        for step in (1, 2):
            store.save(step, {"params": tree_of(mesh, step)}, {"step": step}, {"a/b.txt": b"abc"})
    draw = random.Random(0)
    cases = 0
    for path in files_of(tmp_path, 2):
        good, name = path.read_bytes(), path.relative_to(tmp_path).as_posix()
        for index in range(len(good)):
            path.write_bytes(flipped(good, index, draw.randrange(8)))
            assert [d.file for d in store.verify(2)] == [name]
            if draw.randrange(20) == 0:
                assert_found(tmp_path, path)
            cases += 1
        path.write_bytes(good)
    assert cases > 5000
    assert CheckpointStore(tmp_path, write=False).latest() == 2


def test_truncated_zeroed_lengthened_and_emptied_files_are_found(two_steps):
    for path in files_of(two_steps, 2):
        good = path.read_bytes()
        half = len(good) // 2
        damaged = [good[:-1], good[:half], b"", bytes(len(good)), good[:half] + bytes(half)]
        for bad in [*damaged, good + b"\0", good + good, good[::-1]]:
            if bad != good:
                path.write_bytes(bad)
                assert_found(two_steps, path)
        path.write_bytes(good)


def test_deleted_replaced_and_added_files_are_found(two_steps):
    for path in files_of(two_steps, 2)[:-1]:
        good = path.read_bytes()
        path.unlink()
        assert_found(two_steps, path)
        path.symlink_to(two_steps / "1" / path.relative_to(two_steps / "2"))
        assert_found(two_steps, path)
        path.unlink()
        path.write_bytes(good)
        extra = path.with_name("extra")
        extra.write_bytes(b"")
        assert_found(two_steps, extra)
        extra.unlink()


def test_a_deleted_manifest_or_directory_is_named_by_the_writer_at_its_start(two_steps, caplog):
    (two_steps / "manifests" / "2.json").unlink()
    with CheckpointStore(two_steps, write=True) as store:
        assert "step 2 has no manifest" in caplog.text
        assert store.latest() == 1
    shutil.rmtree(two_steps / "1")
    with (
        CheckpointStore(two_steps, write=True) as store,
        pytest.raises(CheckpointError, match=r"No checkpoint .* damaged: 1, 2"),
    ):
        store.latest()
    assert "1: the directory is missing" in caplog.text


def test_the_manifest_of_another_step_does_not_vouch(two_steps):
    manifests = two_steps / "manifests"
    shutil.copytree(two_steps / "1", two_steps / "3")
    shutil.copy(manifests / "1.json", manifests / "3.json")
    store = CheckpointStore(two_steps, write=False)
    assert store.steps() == [1, 2] and store.latest() == 2
    assert "manifest of step 1" in str(store.verify(3)[0])


def test_restored_arrays_never_differ_silently(two_steps, mesh):
    """Damage in any byte: the params of the step before come back, bit for bit."""
    draw = random.Random(1)
    trees = {step: tree_of(mesh, step) for step in (1, 2)}
    files = [p for p in files_of(two_steps, 2) if p.stat().st_size]
    for _ in range(100):
        path = draw.choice(files)
        good = path.read_bytes()
        path.write_bytes(flipped(good, draw.randrange(len(good)), draw.randrange(8)))
        store = CheckpointStore(two_steps, write=False)
        with pytest.raises(CheckpointError, match=r"damaged|no checkpoint 2"):
            store.restore(2, "params", abstract_of(trees[2]))
        assert same(store.restore(store.latest(), "params", abstract_of(trees[1])), trees[1])
        path.write_bytes(good)


def test_damaged_meta_and_assets_are_not_handed_out(two_steps):
    store = CheckpointStore(two_steps, write=False)
    assert store.latest() == 2  # Verified before; read again they are checked again.
    for name, read in (("meta.json", store.meta), ("assets/tokenizer.json", store.assets)):
        path = two_steps / "2" / name
        path.write_bytes(flipped(path.read_bytes(), 3, 1))
        with pytest.raises(CheckpointError, match=name):
            read(2)


def test_the_writer_puts_damaged_steps_away_and_saves_them_again(two_steps, mesh):
    (two_steps / "2" / "params" / "_METADATA").write_bytes(b"")
    with CheckpointStore(two_steps, write=True) as store:
        assert store.latest() == 1
        assert not (two_steps / "2").exists()
        assert [p.name[:2] for p in sorted((two_steps / "damaged").iterdir())] == ["2.", "2."]
        store.save(2, {"params": tree_of(mesh, 5)}, {}, {})
        store.wait()
        assert store.latest() == 2 and store.verify(2) == []
        assert same(store.restore(2, "params", abstract_of(tree_of(mesh))), tree_of(mesh, 5))


def test_a_reader_touches_nothing(two_steps):
    (two_steps / "2" / "meta.json").unlink()
    before = sorted(two_steps.rglob("*"))
    assert CheckpointStore(two_steps, write=False).latest() == 1
    assert sorted(two_steps.rglob("*")) == before


def test_never_starts_from_scratch_over_damaged_steps(two_steps):
    for step in (1, 2):
        (two_steps / str(step) / "meta.json").write_bytes(b"")
    with pytest.raises(CheckpointError, match="damaged: 1, 2"):
        CheckpointStore(two_steps, write=False).latest()
    for _ in range(2):  # Also after they were put away by the start before.
        with (
            CheckpointStore(two_steps, write=True) as store,
            pytest.raises(CheckpointError, match=r"damaged: 1, 2.*from scratch"),
        ):
            store.latest()
    shutil.rmtree(two_steps / "damaged")
    assert CheckpointStore(two_steps, write=False).latest() is None


def test_foreign_names_are_ignored(two_steps, mesh):
    for name in ("07", "1a", "٣", "-1", "_SNAPSHOTS", str(2**63)):
        (two_steps / name).mkdir()
        (two_steps / "manifests" / f"{name}.txt").write_bytes(b"?")
    (two_steps / "5").symlink_to(two_steps / "nowhere")
    (two_steps / "6").write_bytes(b"a file")
    store = CheckpointStore(two_steps, write=False)
    assert store.steps() == [1, 2] and store.latest() == 2
    with CheckpointStore(two_steps, write=True) as writer:
        assert writer.latest() == 2
        for step in (5, 6):
            writer.save(step, {"params": tree_of(mesh)}, {}, {})
            writer.wait()
        assert writer.steps() == [1, 2, 5, 6]


def test_a_manifest_survives_its_own_encoding():
    made = Manifest(7, {"b/ü": File(3, "ab" * 32), "a": File(0, "00" * 32)})
    assert decode(made.encode()) == made
    assert made.encode().decode().splitlines()[0] == made.hash


def test_unused_devices_do_not_matter(two_steps):
    one = mesh_of(1)
    store = CheckpointStore(two_steps, write=False)
    assert same(store.restore(1, "params", abstract_of(tree_of(one))), tree_of(one, 1))


def sealed(values):
    """A manifest file whose first line agrees with it."""
    body = json.dumps(values).encode()
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


@pytest.mark.parametrize(
    "files",
    [
        *({name: [4, "0" * 64]} for name in ("../x", "assets/../../x", "/etc/x", "a//b", "", ".")),
        *({"a": about} for about in ([4], 4, None, [-1, "0" * 64], ["4", "0" * 64], [True, "0"])),
        [],
        None,
    ],
)
def test_a_manifest_that_agrees_with_itself_names_files_below_its_step(files):
    with pytest.raises(ValueError, match=r"it (names|has no)"):
        decode(sealed({"format": 1, "step": 2, "files": files}))


@pytest.mark.parametrize("values", [5, [], {"format": 1, "files": {}}, {"format": [1]}])
def test_a_manifest_of_another_form_is_a_sentence(values):
    with pytest.raises(ValueError, match=r"it has no step|its format|not an object"):
        decode(sealed(values))


def test_files_of_another_kind_are_damage(two_steps):
    manifest = two_steps / "manifests" / "2.json"
    content = manifest.read_bytes()
    for path in (manifest, two_steps / "2" / "assets" / "tokenizer.json"):
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(CheckpointError, match="not a regular file"):
            CheckpointStore(two_steps, write=False).assets(2)
        assert CheckpointStore(two_steps, write=False).latest() == 1
        manifest.unlink()
        manifest.write_bytes(content)


@pytest.mark.parametrize("content", ["{}", "[" * 100_000])
def test_damaged_files_of_orbax_with_their_own_manifest_are_a_sentence(content, two_steps, mesh):
    (two_steps / "2" / "params" / "_METADATA").write_text(content)
    made = of_directory(2, two_steps / "2")
    (two_steps / "manifests" / "2.json").write_bytes(made.encode())
    store = CheckpointStore(two_steps, write=False)
    with pytest.raises(CheckpointError, match="2/params can't be read"):
        store.restore(2, "params", abstract_of(tree_of(mesh, 2)))
    with pytest.raises(CheckpointError, match="2/params can't be read"):
        store.names(2, "params")
