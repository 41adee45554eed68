"""ReaL: a prediction counts if it is among the labels of its image; images without are left out."""

import json

import numpy as np
import pytest
import stand_ins
import tfds_stand_ins
from hypothesis import given, settings
from hypothesis import strategies as st
from small_model import PREPROCESSING, small_model

from prolip.config import ConfigError, EvalConfig
from prolip.data.records import DataError
from prolip.evals.multi_label import LEFT_OUT, RIGHT, WRONG, right_answers
from prolip.evals.sets.address import parse
from prolip.evals.sets.measure import measure
from prolip.evals.sets.opened import open_set
from prolip.evals.sets.pixels import Pixels


def real_json(path, labels):
    """A file of 50,000 lists; those of the images 1, 2, ... are given, the others are [7]."""
    lists = [*labels, *[[7]] * (50_000 - len(labels))]
    path.write_text(json.dumps(lists))
    return path


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.sets(st.integers(0, 4)))))
def test_equals_the_obvious_loop(images):
    valid = np.full((len(images), 5), WRONG, np.int8)
    for row, (_, labels) in enumerate(images):
        valid[row, sorted(labels)] = RIGHT
        if not labels:
            valid[row] = LEFT_OUT
    answers = right_answers(np.array([p for p, _ in images], int), valid)
    assert answers.tolist() == [p in labels for p, labels in images if labels]


def test_labels_go_by_the_numbers_in_names_not_by_the_order_of_files(tmp_path):
    # In folders the files' order is that of classes: number 3 comes first.
    for folder, number in (("n01440764", 3), ("n01443537", 1), ("n15075141", 2)):
        name = f"ILSVRC2012_val_{number:08}.JPEG"
        stand_ins.write(tmp_path / "val" / folder / name, stand_ins.jpeg(number))
    file = real_json(tmp_path / "real.json", [[1, 5], [], [0]])
    found = open_set(parse(f"imagenet={tmp_path / 'val'} real={file} partial=yes"))
    valid = found.listing.valid
    assert [np.flatnonzero(row == RIGHT).tolist() for row in valid] == [[0], [1, 5], []]
    assert (valid[2] == LEFT_OUT).all() and (valid[:2] >= WRONG).all()
    assert found.about["images_with_labels"] == 2
    assert found.listing.labels.tolist() == [0, 1, 999]  # Those of the files stay.


def test_both_accuracies_of_one_embedding(tmp_path):
    model = small_model()
    root = stand_ins.imagenet_flat(tmp_path / "val", 4)
    words = f"imagenet={root} prompts=simple partial=yes"
    plain = open_set(parse(words))
    images = model.image(np.concatenate([*Pixels(plain.listing, PREPROCESSING).images(4)]))
    before = measure(plain, images, model.encode_text, EvalConfig())
    first, second, third, _ = before.arrays["predicted"].tolist()
    # The second is wrong, the fourth is left out.
    labels = [[5, first], [(second + 1) % 1000], sorted({third, 0}), []]
    found = open_set(parse(f"{words} real={real_json(tmp_path / 'real.json', labels)}"))
    after = measure(found, images, model.encode_text, EvalConfig())
    assert after.metrics["sets/imagenet/real/top1"] == pytest.approx(2 / 3)
    assert after.metrics["sets/imagenet/real/num_images"] == 3
    assert "sets/imagenet/real/mean/top1" in after.metrics
    own = {name: value for name, value in after.metrics.items() if "/real/" not in name}
    assert own == before.metrics
    assert found.evaluator != plain.evaluator  # Another entry of a run's ledger.


def test_other_labels_are_another_entry_and_parts_keep_theirs(tmp_path):
    root = stand_ins.imagenet_flat(tmp_path / "val", 4)
    (root / "ILSVRC2012_val_00000002.JPEG").write_bytes(b"?")
    entries = set()
    for labels in ([[1], [2], [3], []], [[1], [2], [4], []]):
        file = real_json(tmp_path / "real.json", labels)
        found = open_set(parse(f"imagenet={root} real={file} partial=yes"))
        entries.add(found.evaluator)
        right = [np.flatnonzero(row == RIGHT).tolist() for row in found.listing.valid]
        assert right == [labels[0], labels[2], labels[3]]
    assert len(entries) == 2


def test_prepared_records_are_known_by_their_file_names(tmp_path):
    # TFDS shuffles: record 0 is not image 1.
    tfds_stand_ins.prepare(
        "imagenet2012",
        tmp_path,
        "validation",
        5,
        file_name=lambda number, _: f"ILSVRC2012_val_{number + 1:08}.JPEG",
    )
    file = real_json(tmp_path / "real.json", [[n] for n in range(5)])
    found = open_set(parse(f"imagenet=tfds:{tmp_path} real={file} partial=yes"))
    numbers = [int(key[-13:-5]) - 1 for key in found.listing.keys]
    assert sorted(numbers) == list(range(5)) and numbers != list(range(5))
    assert found.listing.labels.tolist() == numbers  # Record n is of class n.
    assert [np.flatnonzero(row == RIGHT).tolist() for row in found.listing.valid] == [
        [n] for n in numbers
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([[1]] * 49_999, "a list of 49,999, not of 50,000"),
        ({"a": [1]}, "no list, not of 50,000"),
        ([[1]] * 49_999 + [[1000]], r"image 50000: \[1000\] is no list of class numbers"),
        ([[1]] * 49_999 + [[True]], "is no list of class numbers"),
        ([[1]] * 49_999 + [7], "image 50000: 7 is no list"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, content, said):
    root = stand_ins.imagenet_flat(tmp_path / "val")
    file = tmp_path / "real.json"
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=said):
        open_set(parse(f"imagenet={root} real={file} partial=yes"))


def test_images_and_sets_that_it_does_not_fit_are_refused(tmp_path):
    file = real_json(tmp_path / "real.json", [])
    with pytest.raises(DataError, match="is not called ILSVRC2012_val_00000001 to _00050000"):
        folders = stand_ins.class_folders(tmp_path / "val")
        open_set(parse(f"imagenet={folders} real={file} partial=yes"))
    with pytest.raises(DataError, match="the set has others"):
        tars = stand_ins.tars(tmp_path / "tars")
        open_set(parse(f"imagenet={tars} real={file} partial=yes"))
    with pytest.raises(ConfigError, match="imagenet_r has no ReaL labels"):
        open_set(parse(f"imagenet_r={tmp_path / 'val'} real={file} partial=yes"))
    with pytest.raises(DataError, match="can't be read as JSON"):
        flat = stand_ins.imagenet_flat(tmp_path / "flat")
        open_set(parse(f"imagenet={flat} real={tmp_path / 'nothing.json'} partial=yes"))


def test_the_option_is_part_of_the_address():
    found = parse("imagenet=/a b/val real=/r.json as=in1k")
    assert (found.where, found.real, found.name) == ("/a b/val", "/r.json", "in1k")
    with pytest.raises(ConfigError, match="names real twice"):
        parse("imagenet=/a real=/r.json real=/s.json")
