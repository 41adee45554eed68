"""What is stopped goes on, in any number of processes, and the files are the same in the end."""

import dataclasses
import json
import os
import shutil
import threading
import time

import jax
import pytest
from collected import OPTIONS, Only, refuses, rows, run, table
from small_model import png, small_model, write_pictures

from prolip.config import ConfigError
from prolip.retrieval import embeddings, parts

COUNT = 37  # Five parts of 8, the last one ragged.
ROWS = [8, 8, 7, 8, 5]  # One picture is broken.
NAMES = [f"part-{n:05}.parquet" for n in range(5)]


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = write_pictures(tmp_path_factory.mktemp("data") / "pictures", COUNT)
    (folder / "20.png").write_bytes(b"broken")
    return folder


@pytest.fixture(scope="module")
def undisturbed(model, pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "out"
    run(model, pictures, folder)
    return folder


@pytest.fixture
def out(undisturbed, tmp_path):
    """A copy of the undisturbed run, to be damaged."""
    return shutil.copytree(undisturbed, tmp_path / "out")


def same(folder, undisturbed):
    assert table(folder) == table(undisturbed)
    assert rows(folder)[1] == rows(undisturbed)[1]
    for name in ("failed.jsonl", "embed.json"):
        assert (folder / name).read_text() == (undisturbed / name).read_text()
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*NAMES, "embed.json", "failed.jsonl", "manifest.json"]
    )


def stopping(model, after):
    """Fails after some batches."""
    left = [after]

    def image(images):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return model.image(images)

    return Only(model, image)


@pytest.mark.parametrize("batches", [0, 1, 2, 5, 9])
def test_a_stopped_run_goes_on_after_its_finished_parts(
    batches, model, pictures, undisturbed, tmp_path
):
    with pytest.raises(KeyboardInterrupt):
        run(stopping(model, batches), pictures, tmp_path / "out")
    there = {path.name: path.stat().st_ino for path in (tmp_path / "out").glob("part-*")}
    assert sorted(there) == NAMES[: batches // 2]
    summary = run(model, pictures, tmp_path / "out")
    for name, inode in there.items():
        assert (tmp_path / "out" / name).stat().st_ino == inode
    assert summary.rows == COUNT - 1 - sum(
        min(8, COUNT - 8 * n) - (n == 2) for n in range(len(there))
    )
    same(tmp_path / "out", undisturbed)


def test_a_finished_run_embeds_nothing(model, pictures, out, undisturbed):
    inodes = {path.name: path.stat().st_ino for path in out.glob("part-*")}
    assert run(Only(model, refuses), pictures, out).rows == 0
    assert {path.name: path.stat().st_ino for path in out.glob("part-*")} == inodes
    same(out, undisturbed)


@pytest.mark.parametrize("damage", ["missing", "cut", "empty", "of other items"])
def test_a_damaged_part_is_made_again(damage, model, pictures, out, undisturbed):
    path = out / NAMES[1]
    if damage == "missing":
        path.unlink()
    elif damage == "of other items":
        shutil.copy(out / NAMES[3], path)
    else:
        path.write_bytes(path.read_bytes()[: 1000 if damage == "cut" else 0])
    assert run(model, pictures, out).rows == 8
    same(out, undisturbed)


def test_the_manifest_goes_before_a_part_is_made_again(model, pictures, out):
    (out / NAMES[1]).unlink()
    with pytest.raises(AssertionError, match="nothing is to be embedded"):
        run(Only(model, refuses), pictures, out)
    assert not (out / "manifest.json").exists()


def test_half_written_files_are_removed(model, pictures, out, undisturbed):
    (out / NAMES[2]).unlink()
    (out / f".{NAMES[2]}.1234abcd.tmp").write_bytes(b"half")
    (out / "manifest.json.77.tmp").write_bytes(b"half")
    old = time.time() - 1000
    os.utime(out / "manifest.json.77.tmp", (old, old))
    run(model, pictures, out)
    same(out, undisturbed)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_processes_share_the_work(count, model, pictures, undisturbed, tmp_path):
    """One after the other in any order; the last one writes the manifest."""
    order = list(range(count))[::-1]
    for position, index in enumerate(order):
        assert not (tmp_path / "out/manifest.json").exists()
        options = dataclasses.replace(OPTIONS, process_index=index, process_count=count)
        before = set((tmp_path / "out").glob("part-*"))
        summary = run(model, pictures, tmp_path / "out", options)
        new = {path.name for path in set((tmp_path / "out").glob("part-*")) - before}
        assert new == set(NAMES[index::count])
        assert (summary.manifest is not None) == (position == count - 1)
    same(tmp_path / "out", undisturbed)


def test_the_share_is_what_jax_says(model, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    run(model, pictures, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").glob("part-*")) == NAMES[1::2]


@pytest.mark.parametrize("shares", [((0, 2), (1, 2)), ((0, 1), (0, 1), (0, 1))])
def test_launches_at_the_same_time_do_no_harm(shares, model, pictures, undisturbed, tmp_path):
    """Also when they do the same parts."""
    barrier, errors = threading.Barrier(len(shares)), []

    def launch(index, count):
        options = dataclasses.replace(OPTIONS, process_index=index, process_count=count)
        barrier.wait()
        try:
            run(model, pictures, tmp_path / "out", options)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=launch, args=share) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    same(tmp_path / "out", undisturbed)


def test_a_file_that_another_launch_clears_away_is_written_again(
    model, pictures, undisturbed, tmp_path, monkeypatch
):
    write, calls = embeddings.write_part, []

    def cleared(path, *args, **kwargs):
        calls.append(path.name)
        if calls.count(path.name) == 1:
            raise FileNotFoundError(path)
        write(path, *args, **kwargs)

    monkeypatch.setattr(embeddings, "write_part", cleared)
    run(model, pictures, tmp_path / "out")
    assert sorted(calls) == sorted(NAMES * 2)
    same(tmp_path / "out", undisturbed)


def test_a_part_that_another_launch_made_meanwhile_is_not_made_again(
    model, pictures, undisturbed, tmp_path
):
    out, made = tmp_path / "out", (undisturbed / NAMES[4]).read_bytes()

    def image(images):
        (out / NAMES[4]).write_bytes(made)
        return model.image(images)

    assert run(Only(model, image), pictures, out).rows == sum(ROWS[:4])
    same(out, undisturbed)


def change_weights(model, pictures, tmp_path):
    return small_model(seed=1), pictures, OPTIONS


def change_width(model, pictures, tmp_path):
    return model, pictures, dataclasses.replace(OPTIONS, width="float16")


def change_parts(model, pictures, tmp_path):
    return model, pictures, dataclasses.replace(OPTIONS, part_size=9)


def change_data(model, pictures, tmp_path):
    other = shutil.copytree(pictures, tmp_path / "other")
    (other / "20.png").write_bytes(png(20))
    return model, other, OPTIONS


def change_kind(model, pictures, tmp_path):
    (tmp_path / "t.txt").write_text("a\n")
    return model, tmp_path / "t.txt", OPTIONS


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (change_weights, r"\(model\.weights: "),
        (change_width, r"\(width: 'float32' there, 'float16' here\)"),
        (change_parts, r"\(part_size: 8 there, 9 here\)"),
        (change_data, r"\(data: "),
        (change_kind, r"items: 37 there, 1 here; kind: 'image' there, 'text' here"),
    ],
)
def test_other_settings_are_refused_by_name(
    change, words, model, pictures, out, undisturbed, tmp_path
):
    other, data, options = change(model, pictures, tmp_path)
    with pytest.raises(ConfigError, match=words):
        run(other, data, out, options)
    same(out, undisturbed)


def test_what_does_not_change_the_result_may_change(model, pictures, out, undisturbed):
    (out / NAMES[0]).unlink()
    moved = dataclasses.replace(OPTIONS, threads=5, max_bad_fraction=0.5)
    run(model, pictures, out, moved)
    same(out, undisturbed)


def test_a_folder_of_something_else_is_left_alone(model, pictures, tmp_path):
    (tmp_path / "part-00000.parquet").write_bytes(b"mine")
    with pytest.raises(ConfigError, match=r"has parts but no embed\.json"):
        run(model, pictures, tmp_path)
    (tmp_path / "embed.json").write_text("{")
    with pytest.raises(ConfigError, match=r"embed\.json is damaged"):
        run(model, pictures, tmp_path)
    assert (tmp_path / "part-00000.parquet").read_bytes() == b"mine"
    with pytest.raises(ConfigError, match="can't be written"):
        run(model, pictures, tmp_path / "part-00000.parquet")


def test_of_two_that_begin_at_once_with_other_settings_one_is_first(tmp_path):
    division = parts.Division(3, 2)
    outcomes = []
    barrier = threading.Barrier(8)

    def begin(number):
        barrier.wait()
        try:
            parts.PartsFolder(tmp_path / "out", division, {"number": number})
            outcomes.append(number)
        except ConfigError:
            pass

    threads = [threading.Thread(target=begin, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [json.loads((tmp_path / "out/embed.json").read_text())["number"]]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["embed.json"]
