"""Flickr30k and plausible matches against slow, obvious versions."""

import json

import numpy as np
import pytest

from prolip.data.records import DataError
from prolip.evals.benchmarks import flickr30k, karpathy, pmrp
from prolip.evals.benchmarks.pmrp import object_classes
from prolip.gaussian import Gaussian


def obvious_pmrp(queries, gallery, trace, asked, given):
    scores = -((queries[:, None] - gallery[None]) ** 2).sum(-1) - trace
    result = []
    for zeta in (0, 1, 2):
        for row, code in zip(scores, asked, strict=True):
            match = [(code != other).sum() <= zeta for other in given]
            ranking = sorted(range(len(row)), key=lambda t: (-row[t], t))[: sum(match)]
            result.append(np.mean([match[t] for t in ranking]))
    return np.mean(result)


def test_pmrp_equals_the_obvious_loop_without_images_that_show_nothing(rng):
    classes = rng.random((12, 5)) < 0.3
    classes[3] = False
    own = np.repeat(np.arange(12), 2)
    images, texts = (
        Gaussian(rng.integers(-2, 3, (n, 4)).astype(np.float32), np.zeros((n, 4), np.float32))
        for n in (12, 24)
    )
    result = pmrp(images, texts, own, classes, block=5)
    seen = classes.any(1)
    kept = seen[own]
    sides = images.mean[seen], texts.mean[kept]
    codes = classes[seen], classes[own][kept]
    for way, (q, g) in {"image_to_text": (0, 1), "text_to_image": (1, 0)}.items():
        expected = obvious_pmrp(sides[q], sides[g], 4.0, codes[q], codes[g])
        assert result[f"pmrp/{way}"] == pytest.approx(expected, abs=1e-6)
        assert result[f"pmrp/{way}/mean"] == pytest.approx(expected, abs=1e-6)  # Equal traces.
    assert result["pmrp/num_without_objects"] == (~seen).sum()
    with pytest.raises(ValueError, match="no image has an object"):
        pmrp(images, texts, own, np.zeros((12, 5), bool))


def test_object_classes_are_read_for_the_images_asked_for(tmp_path):
    rows = [dict(image_id=7, category_id=2), dict(image_id=9, category_id=1)]
    path = tmp_path / "instances.json"
    path.write_text(json.dumps({"annotations": rows}))
    assert object_classes(path, [9, 8]).tolist() == [[False, True, False], [False] * 3]
    path.write_text("[]")
    with pytest.raises(DataError, match="does not have COCO's instances"):
        object_classes(path, [9])


def test_flickr30k_counts_its_images_and_captions(rng):
    images = rng.normal(size=(1000, 16))
    texts = np.repeat(images, 5, axis=0) + 0.1 * rng.normal(size=(5000, 16))
    result = flickr30k(images, texts)
    assert result["flickr30k/text_to_image/recall@1"] > 0.9
    assert 500 < result["flickr30k/rsum"] <= 600
    order = rng.permutation(5000)
    shuffled = flickr30k(images, texts[order], np.repeat(np.arange(1000), 5)[order])
    assert shuffled == pytest.approx(result, abs=1e-9)
    with pytest.raises(ValueError, match="captions of 999 images, 4,995 in all"):
        flickr30k(images, texts[:-5], np.repeat(np.arange(999), 5))


def test_karpathy_split_files_are_read(tmp_path):
    def image(number, split, texts, **more):
        sentences = [{"raw": t, "sentid": 10 * number + i} for i, t in enumerate(texts)]
        name = f"{number}.jpg"
        return dict(filename=name, imgid=number, split=split, sentences=sentences, **more)

    images = [
        image(1, "train", ["a"]),
        image(2, "test", ["b", "c"], cocoid=77),
        image(3, "test", ["d"]),
    ]
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({"images": images}))
    split = karpathy.read(path)
    assert split.filenames == ["2.jpg", "3.jpg"] and split.captions == ["b", "c", "d"]
    assert split.image_ids.tolist() == [77, 3] and split.caption_ids.tolist() == [20, 21, 30]
    assert split.image_of_text.tolist() == [0, 0, 1]
    with pytest.raises(DataError, match="no image in the split 'val'"):
        karpathy.read(path, "val")
    with pytest.raises(DataError, match="not a split file"):
        karpathy.read(tmp_path / "none.json")
