"""COCO, CxC and ECCV Caption against numbers that the `eccv-caption` package gave."""

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from prolip.data.records import DataError
from prolip.evals.benchmarks import annotations, coco, coco_rankings
from prolip.gaussian import Gaussian

FIXTURES = Path(__file__).parents[1] / "fixtures"
WAYS = {"i2t": "image_to_text", "t2i": "text_to_image"}
PADDED = 9  # Squares that any number below 2^53 is the sum of, the largest taken first.


@pytest.fixture(scope="module")
def truth():
    return annotations.read()


@pytest.fixture(scope="module")
def embeddings():
    """Whole numbers of one length: scores are exact in float32, and ties are many.

    The package ranked by products, which is by distance where lengths are equal: each mean gets
    coordinates that the means of the other side don't have.
    """
    data = np.load(FIXTURES / "eccv.npz")
    lengths = [np.square(data[f"{kind}_emb"].astype(int)).sum(1) for kind in ("image", "caption")]
    longest = max(squares.max() for squares in lengths)
    sides = []
    for kind, squares, before in zip(("image", "caption"), lengths, (0, PADDED), strict=True):
        padding = np.zeros((len(squares), 2 * PADDED))
        padding[:, before : before + PADDED] = sum_of_squares(longest - squares)
        padding[::2] *= -1  # Around zero, so that nothing is centred, which would round.
        mean = np.concatenate([data[f"{kind}_emb"], padding], 1).astype(np.float32)
        assert (np.square(mean).sum(1) == longest).all()
        log_var = np.full(mean.shape, -np.inf)
        log_var[:, 0] = np.log(data[f"{kind}_unc"])
        sides.append(Gaussian(mean, log_var))
    return (*sides, data["image_ids"], data["caption_ids"])


def sum_of_squares(numbers):
    """Int[numbers 9]: whole numbers whose squares add up to each; the largest ones first."""
    roots = np.zeros((len(numbers), PADDED), int)
    for column in roots.T:
        column[:] = np.sqrt(numbers)
        numbers = numbers - column**2
    assert not numbers.any()
    return roots


def name_of(metric, way, variant=""):
    """`coco_1k_r5`, `i2t` of the package is `coco_1k/image_to_text/recall@5` here."""
    benchmark, _, rest = metric.rpartition("_r")
    if metric == "eccv_map_at_r":
        benchmark, rest = "eccv", "map_at_r"
    elif rest == "precision":
        rest = "r_precision"
    else:
        rest = f"recall@{rest}"
    return f"{benchmark}/{WAYS[way]}/{variant}{rest}"


@pytest.mark.slow
def test_embeddings_in_any_order_give_the_numbers_of_the_package(truth, embeddings, rng):
    images, texts, image_ids, caption_ids = embeddings
    order = rng.permutation(25_000)
    # Ten captions that the benchmark doesn't have, as in Karpathy's split.
    more = Gaussian(*(np.concatenate([f[order], f[:10]]) for f in texts))
    ids = np.concatenate([caption_ids[order], 10**7 + np.arange(10)])
    turned = Gaussian(*(f[::-1] for f in images))
    result = coco(turned, more, image_ids[::-1], ids, annotations=truth)
    expected = json.loads((FIXTURES / "eccv.json").read_text())["metrics"]
    for ranking, variant in (("csd", ""), ("mean", "mean/")):
        for metric, ways in expected[ranking].items():
            for way, value in ways.items():
                assert result[name_of(metric, way, variant)] == pytest.approx(value, abs=1e-9)
    assert result["cxc/text_to_image/num_queries"] == 24_972  # 28 captions match nothing in CxC.
    assert result["eccv/image_to_text/num_queries"] == 1_261
    assert result["eccv/text_to_image/num_queries"] == 1_332
    assert result["coco_1k/text_to_image/num_queries"] == 25_000
    recalls = [result[f"coco_5k/{way}/recall@{k}"] for way in WAYS.values() for k in (1, 5, 10)]
    assert result["coco_5k/rsum"] == pytest.approx(100 * sum(recalls))


def rankings(truth, rng, length, oracle=False):
    """Random ones, with an own positive before all others sometimes or, for an oracle, always."""
    result = []
    for way, (asked, gallery) in enumerate(
        ((truth.image_ids, truth.caption_ids), (truth.caption_ids, truth.image_ids))
    ):
        # Steps of a random width, prime to the gallery's size, through a shuffled gallery.
        start, step = rng.integers(0, len(gallery), (2, len(asked), 1))
        place = (start + (10 * step + 1) * np.arange(length + 5)) % len(gallery)
        rows = np.empty((len(asked), length), np.int64)
        shuffled = rng.permutation(gallery)[place]
        for row, rest, query in zip(rows, shuffled, asked.tolist(), strict=True):
            own = truth.coco[way][query]
            first = own[oracle | (rng.random(len(own)) < 0.5)]
            kept = rest[(rest[:, None] != first).all(1)]
            row[: len(first)], row[len(first) :] = first, kept[: length - len(first)]
        result.append(rows)
    return result


def test_an_oracle_of_coco_is_far_from_right_on_eccv_caption(truth, rng):
    made = rankings(truth, rng, 50, oracle=True)
    result = coco_rankings(*made, truth.image_ids, truth.caption_ids, annotations=truth)
    expected = {"recall@1": (99.84, 100), "r_precision": (31.37, 13.74), "map_at_r": (31.31, 13.66)}
    for metric, values in expected.items():
        for way, value in zip(WAYS.values(), values, strict=True):
            assert 100 * result[f"eccv/{way}/{metric}"] == pytest.approx(value, abs=0.15)
    assert result["coco_5k/image_to_text/recall@1"] == 1
    assert not [name for name in result if name.startswith("coco_1k")]  # Too short for folds.


@pytest.mark.slow
def test_rankings_give_the_numbers_of_the_package(truth, rng):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It asks for a faster JSON reader.
        from eccv_caption import Metrics

        package = Metrics()
    made = rankings(truth, rng, 150)
    result = coco_rankings(*made, truth.image_ids, truth.caption_ids, annotations=truth)
    lists = [
        dict(zip(ids.tolist(), rows.tolist(), strict=True))
        for ids, rows in zip((truth.image_ids, truth.caption_ids), made, strict=True)
    ]
    metrics = ["coco_1k", "coco_5k", "cxc"]
    expected = package.compute_all_metrics(
        *lists, [f"{m}_recalls" for m in metrics] + ["eccv_map_at_r", "eccv_rprecision", "eccv_r1"]
    )
    assert len(expected) == 12
    for metric, ways in expected.items():
        for way, value in ways.items():
            assert result[name_of(metric, way)] == pytest.approx(value, abs=1e-9)


def test_faulty_rankings_are_refused(truth, rng):
    made = rankings(truth, rng, 50)
    both = (truth.image_ids, truth.caption_ids)
    for change, message in (
        (lambda r: np.where(np.arange(50) == 49, r[:, :1], r), "query 0: .* more than once"),
        (lambda r: np.where(r == r[7, 3], 10**7, r), "caption 10000000, which is not among"),
        (lambda r: r[:, :30], "too short: 48 are needed"),
        (lambda r: r[:10], "10 rankings but 5000 image ids"),
        (lambda r: r.astype(float), "must be integers"),
    ):
        with pytest.raises(ValueError, match=message):
            coco_rankings(change(made[0]), made[1], *both, annotations=truth)


def test_missing_items_and_files_are_named(truth, embeddings, tmp_path):
    images, texts, image_ids, caption_ids = embeddings
    fewer = Gaussian(*(f[:-2] for f in images))
    with pytest.raises(ValueError, match=f"2 of 5,000 images .* image {image_ids[-2]}"):
        coco(fewer, texts, image_ids[:-2], caption_ids, annotations=truth)
    twice = np.where(image_ids == image_ids[3], image_ids[0], image_ids)
    with pytest.raises(ValueError, match=f"image {image_ids[0]} is there more than once"):
        coco(images, texts, twice, caption_ids, annotations=truth)
    broken = Gaussian(images.mean.copy(), images.log_var)
    broken.mean[5] = np.nan
    with pytest.raises(ValueError, match=rf"image {image_ids[5]} \(row 5\) is not a number"):
        coco(broken, texts, image_ids, caption_ids, annotations=truth)
    with pytest.raises(DataError, match=r"has no coco_test_ids.npy: pip install"):
        annotations.read(tmp_path)
    folder = annotations.location()
    for name in annotations.files():
        shutil.copy(folder / name, tmp_path)
    np.save(tmp_path / annotations.ORDER, truth.caption_ids[:-1])
    with pytest.raises(DataError, match="5,000 images and 24,999 captions"):
        annotations.read(tmp_path)


def test_folds_hold_whole_images(truth):
    images = truth.image_of_caption.reshape(5, 5000)
    assert [len(np.unique(fold)) for fold in images] == [1000] * 5
