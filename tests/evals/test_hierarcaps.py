"""HierarCaps: ProLIP's protocol against the released code, its own against obvious loops."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import stand_ins
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from small_model import PREPROCESSING, small_model

from prolip.config import EvalConfig
from prolip.data.records import DataError
from prolip.evals.benchmarks import hierarcaps
from prolip.evals.benchmarks.hierarcaps import level_kendall, ordered_recall, within_radii
from prolip.evals.sets import known
from prolip.evals.sets.address import parse
from prolip.evals.sets.measure import measure
from prolip.evals.sets.opened import open_set
from prolip.evals.sets.pixels import Pixels
from prolip.gaussian import Gaussian

FIXTURES = Path(__file__).parents[1] / "fixtures"
DATA = np.load(FIXTURES / "hcaps.npz")
INFO = json.loads((FIXTURES / "hcaps.json").read_text())
IMAGES = Gaussian(DATA["image_mean"], DATA["image_logvar"])
TEXTS = Gaussian(*(DATA[f"text_{k}"].reshape(80, 32) for k in ("mean", "logvar")))
OWN = INFO["captions"]


@pytest.mark.parametrize(
    ("variant", "theirs"), [("", "unc_with_base_root"), ("including/", "unc"), ("mean/", "det")]
)
@pytest.mark.parametrize("steps", [10, 50])
def test_traversals_are_those_of_the_released_code(variant, theirs, steps):
    result = hierarcaps(IMAGES, TEXTS, DATA["root"], OWN, steps)
    expected = INFO["results"][f"{theirs}_steps{steps}"]
    own = {n: v for n, v in expected.items() if n != "mean_n_distinct_predictions"}
    found = {name: 100 * result[f"traversal/{variant}{name}"] for name in own}
    assert found == pytest.approx(own, abs=1e-4)
    distinct = result[f"traversal/{variant}distinct"]
    assert distinct == pytest.approx(expected["mean_n_distinct_predictions"])


def obvious_radius(images, texts, root, own, steps):
    """HierarCaps's protocol, one image and one radius at a time."""
    captions = [text for row in own for text in row]
    radii = [float(np.sqrt(((t - root) ** 2).sum())) for t in texts]
    precision, recall, ordered, distinct, tau = [], [], [], [], []
    for number, image in enumerate(images):
        answers = []
        for radius in np.linspace(min(radii), max(radii), steps):
            inside = [i for i, r in enumerate(radii) if r <= radius]
            best = captions[max(inside, key=lambda i: texts[i] @ image)]
            if answers[-1:] != [best]:
                answers.append(best)
        right = own[number]
        precision.append(len(set(answers) & set(right)) / len(set(answers)))
        recall.append(np.mean([text in answers for text in right]))
        distinct.append(len(set(answers)))
        places = [right.index(text) for text in answers if text in right]
        places = [p for i, p in enumerate(places) if not i or p != places[i - 1]]
        runs = [
            end - start
            for start in range(len(places))
            for end in range(start + 1, len(places) + 1)
            if all(a < b for a, b in zip(places[start:end], places[start + 1 : end], strict=False))
        ]
        ordered.append(max(runs, default=0) / len(right))
        levels = len(right)
        mine = radii[number * levels : (number + 1) * levels]
        tau.append(stats.kendalltau(mine, range(levels)).statistic)
    rows = (precision, recall, ordered, distinct, tau)
    names = ("precision", "recall", "ordered_recall", "distinct", "level_kendall")
    return {name: np.mean(row) for name, row in zip(names, rows, strict=True)}


@pytest.mark.parametrize("steps", [3, 50])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_protocol_of_hierarcaps_equals_the_obvious_loop(seed, steps):
    rng = np.random.default_rng(seed)
    # Near the fixture's, so that right answers are found, and no two scores tie.
    noise = rng.normal(0, 0.02, (5, 4, 32))
    texts = DATA["text_mean"][:5].astype(np.float64) + noise
    texts /= np.linalg.norm(texts, axis=-1, keepdims=True)
    own = [[f"{text} {n}" for text in row] for n, row in enumerate(OWN[:5])]
    images, root = DATA["image_mean"][:5], DATA["root"]
    flat = texts.reshape(20, 32).astype(np.float32)
    result = hierarcaps(images, flat, root, own, steps)
    expected = obvious_radius(images, flat, root, own, steps)
    found = {name: result[f"radius/mean/{name}"] for name in expected}
    assert found == pytest.approx(expected, abs=1e-6)
    assert expected["recall"] > 0  # Not a comparison of nothing with nothing.


def test_points_have_what_needs_no_variance():
    result = hierarcaps(IMAGES.mean, TEXTS.mean, DATA["root"], OWN)
    assert not any(name.startswith(("traversal/including", "text/")) for name in result)
    assert "traversal/precision" not in result
    whole = hierarcaps(IMAGES, TEXTS, DATA["root"], OWN)
    shared = [name for name in whole if "/mean/" in name and not name.startswith("text/")]
    assert len(shared) == 8 + 5
    assert {n: result[n] for n in shared} == pytest.approx({n: whole[n] for n in shared}, abs=1e-6)


def test_uncertainty_that_follows_the_levels_is_found():
    def values(log_var):
        texts = Gaussian(TEXTS.mean, np.tile(log_var[:, None], (20, 32)).astype(np.float32))
        return hierarcaps(IMAGES, texts, DATA["root"], OWN)

    falling = values(np.array([-1.0, -2.0, -3.0, -4.0]))
    assert falling["text/level_kendall"] == 1
    assert falling["text/level_spearman"] == pytest.approx(1)
    means = [falling[f"text/mean/level{k}"] for k in (1, 2, 3, 4)]
    assert means == pytest.approx((32 * np.exp([-1.0, -2.0, -3.0, -4.0])).tolist())
    rising = values(np.array([-4.0, -3.0, -2.0, -1.0]))
    assert rising["text/level_kendall"] == -1
    assert rising["text/level_spearman"] == pytest.approx(-1)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 9), min_size=4, max_size=4, unique=True), min_size=1),
)
def test_kendall_is_that_of_scipy_where_nothing_ties(rows):
    expected = np.mean([stats.kendalltau(row, range(4)).statistic for row in rows])
    assert level_kendall(np.array(rows, float)) == pytest.approx(expected)


def test_equal_distances_say_nothing():
    assert level_kendall(np.array([[1.0, 1.0, 1.0]])) == 0
    assert level_kendall(np.array([[1.0, 1.0, 2.0]])) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("found", "right"),
    [
        ("abcd", 4),
        ("axbycz", 3),  # Wrong answers between right ones don't count.
        ("aabbb", 2),  # Nor do repeats.
        ("dcba", 1),
        ("bacd", 3),
        ("cdab", 2),
        ("xy", 0),
        ("", 0),
    ],
)
def test_ordered_recall_counts_the_longest_rising_run(found, right):
    assert ordered_recall(list(found), list("abcd")) == right / 4


def test_the_answers_do_not_depend_on_the_order_of_the_texts(rng):
    images, texts = rng.normal(size=(7, 5)), rng.normal(size=(30, 5))
    radii = np.linalg.norm(texts, axis=1)
    found = within_radii(images, texts, radii, 20)
    order = rng.permutation(30)
    shuffled = within_radii(images, texts[order], radii[order], 20)
    for a, b in zip(found, shuffled, strict=True):
        assert a.tolist() == order[b].tolist()


def test_faults_are_named():
    texts = Gaussian(TEXTS.mean.copy(), TEXTS.log_var)
    texts.mean[7, 3] = np.nan
    with pytest.raises(ValueError, match="text 7 is not a number"):
        hierarcaps(IMAGES, texts, DATA["root"], OWN)
    with pytest.raises(ValueError, match="root 0 is not a number"):
        hierarcaps(IMAGES, TEXTS, np.full(32, np.nan), OWN)
    with pytest.raises(ValueError, match="80 captions, but embeddings of 79"):
        hierarcaps(IMAGES, TEXTS.mean[:79], DATA["root"], OWN)
    with pytest.raises(ValueError, match="as many captions each"):
        hierarcaps(IMAGES, TEXTS, DATA["root"], [*OWN[:-1], OWN[0][:3]])


@pytest.mark.parametrize("folder", ["assets/test_imgs", "val2014"])
def test_the_table_and_its_images_are_read(tmp_path, folder):
    listing = open_set(
        parse(f"hierarcaps={stand_ins.hierarcaps(tmp_path, folder)} partial=yes")
    ).listing
    captions = listing.captions
    assert captions.image_ids.tolist() == [100, 101, 102, 103, 104]
    assert captions.image_of_text.tolist() == [row for row in range(5) for _ in range(4)]
    assert captions.levels == 4
    assert captions.texts[4:8] == (
        *("animal", "pet 1", "a small, soft pet 1"),
        'A "small", soft pet 1 sits.',
    )
    assert listing.keys[3] == "COCO_val2014_000000000103.jpg"


def test_what_is_missing_is_named(tmp_path):
    root = stand_ins.hierarcaps(tmp_path)
    with pytest.raises(DataError, match="5 images, not 1,000 and 20 captions, not 4,000"):
        open_set(parse(f"hierarcaps={root}"))
    (root / "assets/test_imgs/COCO_val2014_000000000102.jpg").unlink()
    with pytest.raises(DataError, match=r"lacks 1 of the 5 images.*000000000102"):
        open_set(parse(f"hierarcaps={root} partial=yes"))
    table = root / "data" / "hierarcaps_test.csv"
    table.write_text("id,captions,image_url\n0,a => b => c,http://x/COCO_1.jpg\n")
    with pytest.raises(DataError, match="row 0: 3 captions between =>, not 4"):
        open_set(parse(f"hierarcaps={root} partial=yes"))
    table.write_text("id,text\n0,a\n")
    with pytest.raises(DataError, match="no rows of captions and image_url"):
        open_set(parse(f"hierarcaps={root} partial=yes"))
    table.unlink()
    with pytest.raises(DataError, match="can't be read as a table"):
        open_set(parse(f"hierarcaps={root} partial=yes"))


def test_a_model_is_measured_on_the_files(tmp_path, monkeypatch):
    model = small_model()
    small = dataclasses.replace(known.BY_NAME["hierarcaps"], images=5, captions=20)
    monkeypatch.setitem(known.BY_NAME, "hierarcaps", small)
    opened = open_set(parse(f"hierarcaps={stand_ins.hierarcaps(tmp_path)}"))
    images = model.image(np.concatenate([*Pixels(opened.listing, PREPROCESSING).images(8)]))
    result = measure(opened, images, model.encode_text, EvalConfig())
    texts = opened.listing.captions.texts
    empty = np.asarray(model.encode_text([""]).mean)[0]
    own = [texts[i : i + 4] for i in range(0, 20, 4)]
    expected = hierarcaps(images, model.encode_text(texts), empty, own)
    named = {f"sets/hierarcaps/{name}": value for name, value in expected.items()}
    assert {n: v for n, v in named.items() if np.isfinite(v)} == pytest.approx(result.metrics)
    assert result.notes["about"]["captions"] == 20 and not result.notes["about"]["partial"]


def test_a_part_without_damaged_images_keeps_whole_chains(tmp_path):
    root = stand_ins.hierarcaps(tmp_path)
    (root / "assets/test_imgs/COCO_val2014_000000000101.jpg").write_bytes(b"?")
    captions = open_set(parse(f"hierarcaps={root} partial=yes")).listing.captions
    assert captions.levels == 4 and captions.image_ids.tolist() == [100, 102, 103, 104]
    assert captions.texts[4] == "animal" and captions.texts[7].endswith("pet 2 sits.")


def test_means_off_the_unit_sphere_are_refused():
    images = Gaussian(np.full((1, 4), 2.0), np.zeros((1, 4)))
    texts = Gaussian(np.eye(4), np.zeros((4, 4)))
    with pytest.raises(ValueError, match="image 0 has a mean of length 4"):
        hierarcaps(images, texts, np.ones(4), [["a", "b", "c", "d"]])
