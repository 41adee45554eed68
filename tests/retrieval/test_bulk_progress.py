"""What is said while a collection is embedded, and how far threads run ahead."""

import io
import threading

import pytest
from collected import OPTIONS, Only, run
from rich.console import Console
from small_model import small_model, write_pictures

from prolip.retrieval import batching, preparing, progress
from prolip.retrieval.collections.choose import open_collection
from prolip.retrieval.parts import Division


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = write_pictures(tmp_path_factory.mktemp("data") / "pictures", 40)
    (folder / "20.png").write_bytes(b"broken")
    (folder / "notes.md").write_text("x")
    return folder


def said(model, pictures, out, **options):
    file = io.StringIO()
    run(model, pictures, out, console=Console(file=file, width=100, **options))
    return file.getvalue()


def test_plain_lines_say_how_much_how_fast_and_how_long(model, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)
    lines = said(model, pictures, tmp_path / "out").splitlines()
    assert lines[0].startswith("1 file is left out, ") and lines[0].endswith(": 1 x .md")
    assert lines[1] == "embedded 4/40 (10%)"  # No speed yet: this batch has compiled.
    assert lines[2].startswith("embedded 8/40 (20%)  ")
    assert "items/s" in lines[2] and lines[2].endswith(" left")
    assert f"{tmp_path / 'out'}: 39 images, 1 failed (1 x not a JPEG" in lines[-1]
    again = said(model, pictures, tmp_path / "out").splitlines()
    assert again[1] == "40 of 40 items are there already"
    assert "39 images (0 of them new), 1 failed" in again[2]


def test_seconds_without_news_print_nothing(model, pictures, tmp_path):
    assert len(said(model, pictures, tmp_path / "out").splitlines()) == 2


def test_a_terminal_has_one_live_line(model, pictures, tmp_path):
    text = said(model, pictures, tmp_path / "out", force_terminal=True)
    assert "embed" in text and "100%" in text and "40/40" in text


def test_the_live_line_ends_with_an_error(model, pictures, tmp_path):
    def broken(images):
        raise RuntimeError("the device is gone")

    with pytest.raises(RuntimeError, match="the device is gone"):
        said(Only(model, broken), pictures, tmp_path / "out", force_terminal=True)
    assert threading.active_count() < 20  # Threads have ended with it.


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (61.4, "1:01"), (3599.6, "1:00:00"), (36_000, "10:00:00")]
)
def test_clock(seconds, text):
    assert progress.clock(seconds) == text


def test_threads_wait_for_the_device(model, tmp_path):
    """What is decoded and not embedded yet stays below a bound, however long the collection."""
    (tmp_path / "t.txt").write_text("".join(f"text {n}\n" for n in range(4000)))
    collection = open_collection(str(tmp_path / "t.txt"))
    prepare = preparing.texts(collection, model.tokenizer)
    prepared, embedded, most = [0], [0], [0]

    def counting(piece):
        done = prepare(piece)
        prepared[0] += len(done.good)
        most[0] = max(most[0], prepared[0] - embedded[0])
        return done

    def tower(ids):
        out = model.text(ids)
        embedded[0] += len(ids)
        return out

    work = batching.Work(counting, tower, 8, 32, 1)
    for _ in batching.finished_parts(work, Division(4000, 400), range(10), lambda _: None):
        pass
    assert prepared[0] == 4000
    assert most[0] <= 2 * 32 + 1 * 16 + 3 * 32 + 16  # Window, batches under way, one piece more.


def test_parts_do_not_share_batches(model, tmp_path):
    """A part is the same whichever parts are made before it: else resuming would change it."""
    (tmp_path / "t.txt").write_text("".join(f"text {n}\n" for n in range(50)))
    prepare = preparing.texts(open_collection(str(tmp_path / "t.txt")), model.tokenizer)
    sizes = []

    def tower(ids):
        sizes.append(int((ids.sum(-1) > 0).sum()))
        return model.text(ids)

    work = batching.Work(prepare, tower, 8, 8, 2)
    numbers = [
        (part.number, len(part.rows))
        for part in batching.finished_parts(work, Division(50, 20), [2, 0], lambda _: None)
    ]
    assert numbers == [(2, 10), (0, 20)] and sizes == [8, 2, 8, 8, 4]
    assert OPTIONS.batch_size < OPTIONS.part_size
