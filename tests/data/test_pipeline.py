"""Batches are a pure function of seed, config, data and step, whatever reads them."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from toy import make_set, png, rows

from prolip.config import AugmentConfig, DataConfig, TokenizerConfig
from prolip.data import pipeline as module
from prolip.data.image import decode
from prolip.data.pipeline import TrainPipeline, train_tokenizer
from prolip.data.records import Batch, DataError
from prolip.data.sources.choose import open_source

SIZE, BATCH = 8, 4
PLAIN = AugmentConfig((1.0, 1.0), (1.2, 1.2), 0.0, (0.0, 0.0, 0.0, 0.0), 0.0, 0.0)


def take(config, tokenizer, start=0, count=6, rows=None, seed=3, **options):
    config = dataclasses.replace(config, **options)
    pipeline = TrainPipeline(config, SIZE, tokenizer, BATCH, rows, seed)
    batches = pipeline.batches(start)
    taken = list(itertools.islice(batches, count))
    batches.close()
    return taken


def assert_equal(a: Batch, b: Batch):
    for name, x, y in zip(Batch._fields, a, b, strict=True):
        np.testing.assert_array_equal(x, y, err_msg=name)
        assert x.dtype == y.dtype


@pytest.mark.parametrize("shards", [1, 2, 4])
@pytest.mark.parametrize(("threads", "cache", "prefetch"), [(1, False, 1), (4, True, 8)])
def test_parts_of_all_processes_are_the_batch_from_any_step(
    toy, tokenizer, shards, threads, cache, prefetch
):
    whole = take(toy, tokenizer, count=14)
    count = BATCH // shards
    for start in (0, 5, 13):
        parts = [
            take(
                toy, tokenizer, start, 14 - start, (shard * count, count),
                num_threads=threads, cache=cache, prefetch=prefetch,
            )
            for shard in range(shards)
        ]  # fmt: skip
        for expected, *own in zip(whole[start:], *parts, strict=True):
            assert_equal(Batch(*map(np.concatenate, zip(*own, strict=True))), expected)


@pytest.mark.parametrize(("before", "after", "steps"), [(4, 2, 3), (2, 4, 3), (8, 3, 2), (3, 8, 1)])
def test_another_batch_goes_on_after_the_samples_seen(toy, tokenizer, before, after, steps):
    """Also where their number is no multiple of the new batch; each record is once in an epoch."""

    def indices(batch, start, samples, count, rows=None):
        pipeline = TrainPipeline(toy, SIZE, tokenizer, batch, rows, seed=3)
        batches = pipeline.batches(start, samples)
        taken = [b.index for b in itertools.islice(batches, count)]
        batches.close()
        return taken

    seen = steps * before
    first = indices(before, 0, None, steps)
    rest = indices(after, steps, seen, -(-(23 - seen) // after))
    epoch = np.concatenate([*first, *rest])[:23]
    assert sorted(epoch) == list(range(23))
    halves = [indices(after, steps, seen, 2, (row, 1)) for row in range(after)]
    assert [np.concatenate(rows).tolist() for rows in zip(*halves, strict=True)] == [
        index.tolist() for index in indices(after, steps, seen, 2)
    ]


@pytest.mark.slow
def test_reader_processes_give_the_same_batches(toy, tokenizer):
    whole = take(toy, tokenizer, count=9)
    for expected, got in zip(whole[2:], take(toy, tokenizer, 2, 7, num_workers=2), strict=True):
        assert_equal(got, expected)


def test_each_epoch_is_another_permutation(toy, tokenizer):
    seen = np.concatenate([b.index for b in take(toy, tokenizer, count=23)]).reshape(BATCH, 23)
    assert (np.sort(seen, 1) == np.arange(23)).all()
    assert len({tuple(epoch) for epoch in seen}) == BATCH


def test_seed_changes_order_crops_and_captions(toy, tokenizer):
    (a,), (b,) = (take(toy, tokenizer, count=1, seed=seed) for seed in (3, 4))
    assert (a.index != b.index).any()
    first, second = take(toy, tokenizer, count=23)[::22]
    assert (first.image != second.image).any()
    assert take(toy, tokenizer, count=1, seed=-1)[0].image.shape == (BATCH, SIZE, SIZE, 3)


def test_rows_hold_the_record_that_they_name(toy, tokenizer):
    source = open_source(toy, "train")
    for batch in take(toy, tokenizer, count=12, augment=PLAIN, caption_templates=("{}",)):
        for row, index in enumerate(batch.index):
            record = source[int(index)]
            image = decode(record.image, 10**6).resize((SIZE, SIZE), 3)
            np.testing.assert_array_equal(batch.image[row], np.asarray(image))
            texts = [text for feature in record.captions for text in feature]
            matching = [t for t in texts if module.captions.caption_id(t) == batch.caption[row]]
            np.testing.assert_array_equal(batch.text[row], tokenizer(matching)[0])
            assert set(batch.captions[row]) - {0} == {module.captions.caption_id(t) for t in texts}


@pytest.mark.parametrize("part", [(0, 3), (1, 2), (4, 4), (0, 0), (2, 4)])
def test_uneven_parts_are_refused(toy, tokenizer, part):
    with pytest.raises(DataError, match="no even part of 4"):
        TrainPipeline(toy, SIZE, tokenizer, BATCH, part)


BAD = {
    2: ({"picture": b""}, "empty image"),
    3: ({"picture": png(3)[:200]}, "damaged image"),
    11: ({"picture": b"GIF89a, almost"}, None),
    14: ({"title": b"\xff\xfe"}, "text is not UTF-8"),
    15: ({"title": " ", "texts": ["!!"]}, "no caption"),
    22: ({"picture": png(1, 70, 70)}, "image has too many pixels"),
}


@pytest.fixture(scope="module")
def bad_set(tmp_path_factory):
    """The good rows with some spoilt."""
    spoilt = [{**row, **BAD.get(n, ({}, ""))[0]} for n, row in enumerate(rows(23))]
    return make_set(tmp_path_factory.mktemp("bad"), spoilt, max_pixels=4000, max_bad_fraction=1.0)


def bad_records(config) -> dict[int, str | None]:
    """Number in the split of each spoilt record; TFDS stores rows in an order of its own."""
    order = open_source(dataclasses.replace(config, max_pixels=10**9), "train")
    titles = {f"picture number {n}": n for n in range(23)}
    spoilt = {png(1, 70, 70): 22, b"": 2, png(3)[:200]: 3, b"GIF89a, almost": 11}
    reasons = {}
    for i in range(len(order)):
        try:
            record = order[i]
        except ValueError:
            row = 14
        else:
            row = spoilt.get(record.image, titles.get("".join(record.captions[0]), 15))
        if row in BAD:
            reasons[i] = BAD[row][1]
    return reasons


def test_bad_records_are_replaced_by_the_next_good_one_counted_and_named(toy, bad_set, tokenizer):
    expected = bad_records(bad_set)
    assert len(expected) == len(BAD)
    config = dataclasses.replace(bad_set, augment=PLAIN)
    pipeline = TrainPipeline(config, SIZE, tokenizer, BATCH, seed=3)
    batches = pipeline.batches()
    got = list(itertools.islice(batches, 23))
    batches.close()
    good = take(toy, tokenizer, count=23)
    for asked, batch in zip(good, got, strict=True):
        for wanted, given in zip(asked.index.tolist(), batch.index.tolist(), strict=True):
            while wanted in expected:
                wanted = (wanted + 1) % 23
            assert given == wanted
    account = pipeline.quarantine
    lines = json.loads(json.dumps(account.lines()))
    listed = {line["record"]: line["reason"] for line in lines}
    assert listed.keys() == expected.keys() and len(lines) == len(account) == len(listed)
    assert all(expected[n] in (None, reason) for n, reason in listed.items())
    assert account.reasons.get("empty image") == 1 and sum(account.reasons.values()) == len(BAD)
    assert account.seen == 4 * 23 + account.hits
    assert all(line["key"] == str(line["record"]) for line in lines)
    # And from another step, by other readers, in parts.
    whole = take(bad_set, tokenizer, 4, 3)
    parts = [take(bad_set, tokenizer, 4, 3, (i, 1), cache=True, num_threads=1) for i in range(4)]
    for batch, *own in zip(whole, *parts, strict=True):
        assert_equal(Batch(*map(np.concatenate, zip(*own, strict=True))), batch)


def test_too_many_bad_records_stop_the_run_with_their_reasons(bad_set, tokenizer):
    with pytest.raises(DataError, match=r"records drawn could not be used \(.*max_bad_fraction"):
        take(bad_set, tokenizer, count=10, max_bad_fraction=0.001)
    assert take(bad_set, tokenizer, count=2, max_bad_fraction=0.05)  # 1,000 are judged at least.


def test_set_without_a_good_record_raises_instead_of_hanging(tmp_path, toy, tokenizer):
    config = make_set(tmp_path, [{"title": "a", "picture": b"x"}, {"title": "b", "picture": b""}])
    with pytest.raises(DataError, match="no record that can be used: empty image, not a JPEG"):
        take(config, tokenizer)


def test_fault_of_our_own_reaches_the_caller(toy, tokenizer, monkeypatch):
    def broken(*args):
        raise RuntimeError("bug")

    monkeypatch.setattr(module.augment, "augment", broken)
    with pytest.raises(RuntimeError, match="bug"):
        take(toy, tokenizer)


@pytest.mark.parametrize(
    "change",
    [
        {"caption_weights": (0.4, 0.6)},
        {"caption_templates": ("{}", "the {}")},
        {"augment": PLAIN},
        {"max_captions": 3},
        {"train_split": "train[:20]"},
        {"caption_features": ("captions/text", "title")},
    ],
)
def test_fingerprint_tells_what_changes_batches(toy, tokenizer, change):
    same = dataclasses.replace(toy, num_threads=9, cache=True, prefetch=1, data_dir=toy.data_dir)
    base = TrainPipeline(toy, SIZE, tokenizer, BATCH).fingerprint
    assert base == json.loads(json.dumps(base))
    assert TrainPipeline(same, SIZE, tokenizer, BATCH, (2, 2)).fingerprint == base
    other = dataclasses.replace(toy, **change)
    assert TrainPipeline(other, SIZE, tokenizer, BATCH).fingerprint != base


def test_fingerprint_tells_data_tokenizer_seed_and_sizes(tmp_path, toy, tokenizer):
    changed = [{**row, "title": row["title"].replace("7", "8")} for row in rows(23)]
    others = [
        TrainPipeline(make_set(tmp_path, changed), SIZE, tokenizer, BATCH),
        TrainPipeline(toy, SIZE, train_tokenizer(toy, 9), BATCH),
        TrainPipeline(toy, SIZE, tokenizer, BATCH, seed=1),
        TrainPipeline(toy, SIZE, tokenizer, 8),
        TrainPipeline(toy, 16, tokenizer, BATCH),
        TrainPipeline(toy, SIZE, tokenizer, BATCH),
    ]
    prints = [json.dumps(pipeline.fingerprint) for pipeline in others]
    assert len(set(prints)) == len(prints)


def test_trained_tokenizer_knows_words_of_captions_and_templates(toy):
    config = dataclasses.replace(toy, caption_templates=("zebra {}",))
    tokenizer = train_tokenizer(dataclasses.replace(config, tokenizer=TokenizerConfig()), 8)
    assert 2 not in tokenizer(["zebra picture number 7", "shared text"])
    assert 2 in tokenizer(["ж"])


def test_emoji_give_batches_in_their_default_config(emoji):
    config = DataConfig(data_dir=emoji.data_dir, cache=True)
    tokenizer = train_tokenizer(config, 16)
    pipeline = TrainPipeline(config, 32, tokenizer, 64)
    batches = pipeline.batches()
    taken = list(itertools.islice(batches, 25))
    batches.close()
    assert pipeline.num_records == 1582 and not len(pipeline.quarantine)
    epoch = np.concatenate([batch.index for batch in taken])[:1582]
    assert (np.sort(epoch) == np.arange(1582)).all()
    assert (np.concatenate([batch.text for batch in taken])[:, -1] == 0).all()  # None is cut.
