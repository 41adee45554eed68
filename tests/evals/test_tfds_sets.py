"""Data sets that TFDS prepares: read from stand-ins with the features that its builders declare."""

import dataclasses

import numpy as np
import pytest
import tfds_stand_ins
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_model import PREPROCESSING, small_model

from prolip.cli.main import main
from prolip.config import ConfigError, EvalConfig
from prolip.data.records import DataError
from prolip.evals.multi_label import LEFT_OUT, RIGHT, WRONG, average_precisions
from prolip.evals.sets import known, tfds_table
from prolip.evals.sets.address import parse
from prolip.evals.sets.layouts import prepared
from prolip.evals.sets.measure import classes_of, measure
from prolip.evals.sets.opened import open_set
from prolip.evals.sets.pixels import Pixels
from prolip.evals.zero_shot import class_logits

ROWS = {row.name: row for row in tfds_table.rows()}
COUNT = 6


def changed(feature, value):
    """Objects of a record, as many as `value` gives, with this feature of each."""

    def make(number, made):
        return [made[0] | {feature: each} for each in value(number)]

    return make


def depths(number):
    """Between three and ten places, the nearest as far as the number of the record says."""
    return [np.array([1.0, 2.0, 7.9 + number / 2 + i], np.float32) for i in range(3 + number)]


# Records whose class is their number, where `example` alone would not make it so.
GIVEN = {
    "clevr_count": {"objects": changed("pixel_coords", depths)},
    "clevr_distance": {"objects": changed("pixel_coords", depths)},
    "kitti_distance": {
        "objects": changed("location", lambda n: [np.array([0, 0, 5 + 10 * n], np.float32)])
    },
    "voc2007": {
        "labels": lambda number, _: [number, number + 1],
        "labels_no_difficult": lambda number, _: [number],
    },
}


@pytest.fixture(scope="module")
def where(tmp_path_factory):
    """A data directory where each data set is prepared when it is first asked for."""
    folder, done = tmp_path_factory.mktemp("tfds"), set()

    def prepare(name):
        form = ROWS[name].form
        place = folder / ("b" if name == "clevr_distance" else "a")
        if name not in done:
            made = GIVEN.get(name, {})
            tfds_stand_ins.prepare(form.data_set, place, form.split, COUNT, **made)
            done.add(name)
        return f"{name}=tfds:{place} partial=yes"

    return prepare


@pytest.mark.parametrize("name", sorted(ROWS))
def test_every_data_set_of_the_table_is_read_with_its_classes_and_pictures(where, name):
    row, opened = ROWS[name], open_set(parse(where(name)))
    listing = opened.listing
    assert len(listing) == COUNT and len(listing.classes) == len(listing.names) == row.classes
    if row.form.key:
        numbers = [int(key.removeprefix("text ")) for key in listing.keys]
    else:
        numbers = listing.labels.tolist()  # More classes than records.
    assert sorted(numbers) == list(range(COUNT)) != numbers  # TFDS shuffles.
    if row.metric == "map":
        shown = [np.flatnonzero(row == RIGHT).tolist() for row in listing.valid]
        assert shown == [[n] for n in numbers] and not len(listing.labels)
        assert all(row[n + 1] == LEFT_OUT for n, row in zip(numbers, listing.valid, strict=True))
    else:
        expected = {
            "clevr_count": numbers,
            "clevr_distance": [sum(7.9 + n / 2 > t for t in (8, 8.5, 9, 9.5, 10)) for n in numbers],
            # An object of the kind `n`: cars, vans and trucks are the first three.
            "kitti_distance": [
                sum(5 + 10 * n > t for t in (8, 20, 999)) if n < 3 else 3 for n in numbers
            ],
        }.get(name, [n % row.classes for n in numbers])
        assert listing.labels.tolist() == expected
    builder = tfds_stand_ins.builder(row.form.data_set, where(name).split("tfds:")[1].split()[0])
    for place, number in enumerate(numbers):
        file = tfds_stand_ins.example(builder.info.features["image"], number)
        assert np.array_equal(np.asarray(listing.open(place)), np.asarray(Image.open(file)))
    next(Pixels(listing, PREPROCESSING).images(COUNT))  # Grey ones too.


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: row.name)
def test_names_and_templates_make_prompts(where, row):
    opened = open_set(parse(where(row.name)))
    names = opened.listing.names
    assert len(set(names)) == row.classes
    assert not any("_" in name or "  " in name or name != name.strip("/ ") for name in names)
    unused = set(row.form.names) - set(opened.listing.classes)
    assert not unused, f"{row.name} has no class {unused}"
    assert opened.prompts.templates == row.templates
    assert opened.prompts.name == f"{row.name} v{tfds_table.VERSION}"
    assert all(template.count("{}") == 1 for template in row.templates)
    assert row.metric in ("top1", "class_top1", "map")
    assert open_set(parse(where(row.name) + " prompts=siglip")).prompts.name == "siglip v1"


def test_names_for_prompts_are_words(where):
    def names(name):
        listing = open_set(parse(where(name))).listing
        return dict(zip(listing.classes, listing.names, strict=True))

    assert names("sun397")["/b/balcony/exterior"] == "balcony exterior"
    assert names("sun397")["/a/airplane_cabin"] == "airplane cabin"
    assert names("caltech101")["car_side"] == "side of a car"
    assert names("eurosat")["SeaLake"] == "lake or sea"
    assert names("patch_camelyon")["0"] == "lymph node"
    assert names("food101")["apple_pie"] == "apple pie"


def obvious_range(distance, thresholds):
    """The last threshold below the distance, as VTAB says it."""
    return max(i for i, threshold in enumerate(thresholds) if threshold - distance < 0)


DEPTH = st.one_of(st.sampled_from([8.0, 8.5, 9.0, 9.5, 10.0, 20.0]), st.floats(0.01, 90))


@settings(max_examples=200, deadline=None)
@given(st.lists(DEPTH, min_size=3, max_size=10))
def test_ranges_of_clevr_are_those_of_vtab(found):
    stored = {"objects": {"pixel_coords": np.array([[0, 0, d] for d in found])}}
    thresholds = [0.0, 8.0, 8.5, 9.0, 9.5, 10.0, 100.0]
    assert prepared.clevr_distance(stored) == obvious_range(min(found), thresholds)
    assert prepared.clevr_count(stored) == len(found) - 3


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 7), DEPTH), max_size=6))
def test_ranges_of_kitti_are_those_of_vtab(found):
    stored = {"objects": [{"type": kind, "location": [0.0, 0.0, d]} for kind, d in found]}
    vehicles = [d for kind, d in found if kind < 3]
    expected = obvious_range(min([*vehicles, 1000.0]), [-100.0, 8.0, 20.0, 999.0])
    assert prepared.kitti_distance(stored) == expected


def obvious_average_precision(scores, judged):
    """Down the ranking of one class, an image at a time."""
    ranking = sorted((i for i, j in enumerate(judged) if j != LEFT_OUT), key=lambda i: -scores[i])
    found, total = 0, 0.0
    for rank, image in enumerate(ranking, 1):
        if judged[image] == RIGHT:
            found += 1
            total += found / rank
    return total / found if found else np.nan


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([-1.0, 0.0, 0.5, 1.0]), st.sampled_from([RIGHT, WRONG, LEFT_OUT]))
    )
)
def test_average_precision_equals_the_obvious_loop_with_ties(images):
    scores = np.array([[score] for score, _ in images]).reshape(-1, 1)
    valid = np.array([[judged] for _, judged in images], np.int8).reshape(-1, 1)
    expected = obvious_average_precision(scores[:, 0].tolist(), valid[:, 0].tolist())
    assert average_precisions(scores, valid)[0] == pytest.approx(expected, nan_ok=True)


def test_several_classes_an_image_are_measured_by_their_mean_average_precision(where):
    model, opened = small_model(), open_set(parse(where("voc2007")))
    images = model.image(np.concatenate([*Pixels(opened.listing, PREPROCESSING).images(COUNT)]))
    result = measure(opened, images, model.encode_text, EvalConfig())
    templates = opened.prompts.templates
    classes = classes_of(opened.listing.names, templates, model.encode_text, 64)
    for variant, mean_only in (("", False), ("mean/", True)):
        scores = class_logits(images, classes, mean_only=mean_only)
        own = [
            obvious_average_precision(scores[:, c].tolist(), opened.listing.valid[:, c].tolist())
            for c in range(20)
        ]
        assert result.metrics[f"sets/voc2007/{variant}map"] == pytest.approx(np.nanmean(own))
    assert np.isnan(own).sum() == 14  # Six classes are shown.
    assert result.notes["about"]["images_with_labels"] == COUNT


def test_a_set_is_counted_and_read_from_tfds_alone(where, tmp_path, monkeypatch):
    words = where("mnist").removesuffix(" partial=yes")
    with pytest.raises(DataError, match="6 images, not 10,000 and 6 classes, not 10"):
        open_set(parse(words))
    small = dataclasses.replace(known.BY_NAME["mnist"], images=6, classes=6)
    monkeypatch.setitem(known.BY_NAME, "mnist", small)
    assert not open_set(parse(words)).partial
    with pytest.raises(DataError, match="read from TFDS, =tfds:DIR"):
        open_set(parse(f"mnist={tmp_path}"))
    command = r"tfds build food101 --file_format=array_record --data_dir="
    with pytest.raises(DataError, match=command):
        open_set(parse(f"food101=tfds:{tmp_path}"))
    with pytest.raises(ConfigError, match="no ReaL labels"):
        open_set(parse(f"{where('mnist')} real=x.json"))


def test_a_record_of_no_class_is_named(where, tmp_path):
    form = ROWS["clevr_count"].form
    one = {"objects": changed("pixel_coords", lambda n: depths(0)[:2])}
    tfds_stand_ins.prepare(form.data_set, tmp_path, form.split, 2, **one)
    with pytest.raises(DataError, match="of none of 8 classes"):
        open_set(parse(f"clevr_count=tfds:{tmp_path} partial=yes"))


def test_the_list_shows_templates_and_the_usual_metric(capsys):
    assert main(["eval", "--list", "flowers102"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for words in (
        "tfds build oxford_flowers102 --file_format=array_record",
        "6,149 images, 102 classes",
        "a photo of a {}, a type of flower.",
        "class_top1",
        "--set flowers102=tfds:/data/tfds",
    ):
        assert words in said
    assert main(["eval", "--list"]) == 0
    said = capsys.readouterr().out
    assert not [name for name in ROWS if name not in said]
