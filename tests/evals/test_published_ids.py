"""COCO's ids as they were read are compared with those of the package that judges them."""

import dataclasses

import numpy as np
import pytest
import stand_ins

from prolip.evals.benchmarks import annotations
from prolip.evals.sets import published
from prolip.evals.sets.address import parse
from prolip.evals.sets.listing import Captions, Listing
from prolip.evals.sets.opened import open_set
from prolip.evals.sets.published import Published, as_published, digest


@pytest.fixture(scope="module")
def listing():
    """COCO's test part by the annotation files of `eccv-caption`, in another order."""
    truth = annotations.read()
    order = np.random.default_rng(0).permutation(len(truth.caption_ids))
    captions = Captions(
        texts=("",) * len(order),
        ids=truth.caption_ids[order],
        image_of_text=np.zeros(len(order), np.int64),
        image_ids=truth.image_ids[::-1],
    )
    return Listing((), lambda row: None, np.zeros(0, np.int32), captions=captions)


def changed(listing, **changes):
    return dataclasses.replace(listing, captions=dataclasses.replace(listing.captions, **changes))


def test_the_ids_of_the_annotations_are_the_published_ones_in_any_order(listing):
    assert as_published("coco", listing) == {"images": True, "captions": True}


@pytest.mark.parametrize("what", ["image_ids", "ids"])
@pytest.mark.parametrize("change", ["other", "missing", "twice"])
def test_one_other_id_is_noticed(listing, what, change):
    ids = getattr(listing.captions, what).copy()
    if change == "missing":
        ids = ids[1:]
    else:
        ids[0] = ids[1] if change == "twice" else ids.max() + 1
    found = as_published("coco", changed(listing, **{what: ids}))
    assert found == {"images": what != "image_ids", "captions": what != "ids"}


def test_of_other_sets_nothing_is_known(listing):
    assert as_published("flickr30k", listing) is None
    assert as_published("coco", dataclasses.replace(listing, captions=None)) is None


def test_what_was_measured_says_so(tmp_path, monkeypatch):
    root = stand_ins.karpathy(tmp_path, "dataset_coco.json", "val2014")
    address = parse(f"coco={root} partial=yes")
    opened = open_set(address)
    assert opened.about["ids_as_published"] == {"images": False, "captions": False}
    assert "ids of images and captions are not the published ones" in opened.sentence
    captions = opened.listing.captions
    own = Published(images=digest(captions.image_ids), captions="")
    monkeypatch.setitem(published.PUBLISHED, "coco", own)
    assert "ids of captions are not the published ones" in open_set(address).sentence
    own = own._replace(captions=digest(captions.ids))
    monkeypatch.setitem(published.PUBLISHED, "coco", own)
    assert "ids are the published ones" in open_set(address).sentence
