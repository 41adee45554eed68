"""Images that stand in several records: known by path and by bytes, whatever the source."""

import csv
import dataclasses
import itertools

import numpy as np
import pytest
from rich.console import Console
from test_tables import config as table
from toy import png
from webfiles import tar_config, write_tar

from prolip.config import ObjectiveConfig
from prolip.data.evaluation import eval_set
from prolip.data.items import Items
from prolip.data.pipeline import TrainPipeline
from prolip.data.sources.choose import open_train
from prolip.data.text import caption_id, clean
from prolip.train.repeated_images import RepeatedImages

IMAGES, EACH, SIZE = 4, 3, 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A row for each caption; `copy.png` has the bytes of the first image, `other` names it."""
    folder = tmp_path_factory.mktemp("captions")
    (folder / "a").mkdir()
    for n in range(IMAGES):
        (folder / "a" / f"{n}.png").write_bytes(png(n))
    (folder / "a" / "copy.png").write_bytes(png(0))
    write_csv(
        folder / "t.csv", [(f"a/{n}.png", title(n, k)) for k in range(EACH) for n in range(IMAGES)]
    )
    write_csv(folder / "a" / "u.csv", [("copy.png", "a copy"), ("1.png", "the second once more")])
    return folder


def write_csv(path, rows):
    with path.open("w") as file:
        out = csv.writer(file)
        out.writerow(["picture", "title"])
        out.writerows(rows)


def title(image, row):
    return f"picture {image} row {row}"


def ids(*texts):
    return {caption_id(clean(text, "canonicalize")) for text in texts}


def first(config, tokenizer, batch, count=1, **options):
    pipeline = TrainPipeline(dataclasses.replace(config, **options), SIZE, tokenizer, batch)
    batches = pipeline.batches()
    taken = list(itertools.islice(batches, count))
    batches.close()
    return taken


def test_a_row_knows_the_captions_of_all_rows_with_its_path(folder, tokenizer):
    config = table(folder, "t.csv")
    (batch,) = first(config, tokenizer, IMAGES * EACH)
    assert sorted(batch.index) == list(range(IMAGES * EACH))
    for index, known, words in zip(batch.index, batch.captions, batch.image_id, strict=True):
        image = index % IMAGES
        assert set(known) - {0} == ids(*(title(image, k) for k in range(EACH)))
        assert ((batch.image_id == words).all(1) == (batch.index % IMAGES == image)).all()
    assert open_train(config).notes == [
        "4 images appear in 12 rows; the captions of all rows of an image are its captions",
    ]
    # As many as a batch carries along, the row's own first.
    (few,) = first(config, tokenizer, 4, max_captions=1)
    assert (few.captions[:, 0] == few.caption).all()


def test_captions_of_rows_that_a_filter_leaves_out_are_not_known(folder, tokenizer):
    config = table(folder, "t.csv", filter="title != 'picture 1 row 2'")
    source = open_train(config)
    kept = Items(source, config, upright=True, other_captions=True)
    number = next(i for i in range(len(source)) if source.key(i) == "t.csv::1")
    assert set(kept[number].captions) == ids(title(1, 0), title(1, 1))


def test_paths_start_from_the_folder_of_their_file_and_components_are_apart(folder, tokenizer):
    both = open_train(table(folder, "."))
    keys = {both.key(i): i for i in range(len(both))}
    same = {key: {both.key(i) for i in both.same_image(keys[key])} for key in keys}
    assert same["a/u.csv::0"] == set() and same["t.csv::0"] == {"t.csv::4", "t.csv::8"}
    assert same["a/u.csv::1"] == {"t.csv::1", "t.csv::5", "t.csv::9"}  # "a/1.png" there.
    mixed = open_train(
        table(folder, "", mixture=("table:a/u.csv=0.5 image=picture", "table:t.csv=0.5"))
    )
    assert sorted(mixed.same_image(2)) == [2 + IMAGES, 2 + 2 * IMAGES]
    assert mixed.captions(2 + IMAGES) == ((title(0, 1),),)


@pytest.mark.parametrize("kind", ["copies", "tars", "few records"])
def test_equal_bytes_are_one_image_whatever_they_are_called(folder, tokenizer, tmp_path, kind):
    if kind == "copies":
        config, rows = table(folder, "."), 14
        images = [0, 1, *(n % IMAGES for n in range(IMAGES * EACH))]
    elif kind == "tars":
        for tar in range(2):
            members = {f"{n}.jpg": png(n) for n in range(3)}
            write_tar(
                tmp_path / f"{tar}.tar",
                members | {f"{n}.txt": f"{n} of {tar}".encode() for n in range(3)},
            )
        config = tar_config(tmp_path, train_split="*.tar", image_feature="image")
        config = dataclasses.replace(config, caption_features=("txt",), caption_weights=(1.0,))
        rows, images = 6, [0, 1, 2, 0, 1, 2]
    else:  # A batch of more rows than there are records.
        config, rows, images = table(folder, "a/u.csv"), 5, [0, 1]
    (batch,) = first(config, tokenizer, rows)
    number = np.array(images)[batch.index]
    same = (batch.image_id[:, None] == batch.image_id[None]).all(-1)
    np.testing.assert_array_equal(same, number[:, None] == number[None])
    console = Console(record=True, width=400)
    for positives, said in (("extended", False), ("paired", True)):
        looked = RepeatedImages(ObjectiveConfig(positives=positives).positives, console)
        looked.look(7, batch)
        looked.look(8, batch)
        text = console.export_text()
        assert text.count(f"in {rows} rows of the batch of step 7") == said and "step 8" not in text


def test_an_evaluation_counts_an_image_once_with_the_captions_of_its_records(folder):
    data = eval_set(table(folder, "t.csv", eval_split="t.csv"), SIZE)
    assert data.num_images == IMAGES == sum(map(len, data.images(3)))
    assert data.records.tolist() == [0, 1, 2, 3]
    assert len(data.captions) == IMAGES * EACH
    for caption, images in zip(data.captions, data.positives, strict=True):
        assert images.tolist() == [int(caption.text.split()[1])]
    assert data.notes == (
        "images repeat: 12 records hold 4 images; each image counts once, with the captions of all "
        "its records",
    )


def test_records_of_one_image_with_different_labels_are_told_and_share_captions(tmp_path):
    (tmp_path / "0.png").write_bytes(png(0))
    write_csv(tmp_path / "t.csv", [("0.png", "a cat"), ("0.png", "a dog"), ("0.png", "a cat")])
    data = eval_set(table(tmp_path, "t.csv", eval_split="t.csv"), SIZE, ["title"])
    assert data.labels["title"] == ("a cat", "a dog")
    assert [images.tolist() for images in data.positives] == [[0, 1], [0, 1]]
    assert "1 image has records with different labels" in data.notes[1]
