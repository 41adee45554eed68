"""Batches from tars and mixtures: the same for any processes, readers and restarts."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import png
from webfiles import tar_config, write_folder, write_tar, write_tars

from prolip.data.pipeline import TrainPipeline
from prolip.data.records import Batch, DataError

SIZE, BATCH, STEPS = 8, 12, 9


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """31 samples in tars of which some are bad, and a folder of 7 pictures."""
    place = tmp_path_factory.mktemp("place")
    write_tars(place / "tars", 31)
    bad = {
        "1.jpg": b"", "1.txt": b"empty", "2.jpg": png(2)[:200], "2.txt": b"cut", "2.json": b"{}",
        "3.txt": b"no image", "4.jpg": png(4), "5.jpg": png(5), "5.txt": b"caf\xe9",
    }  # fmt: skip
    write_tar(place / "tars" / "set-00001a.tar", bad)
    with (place / "tars" / "set-00006.tar").open("rb+") as file:
        file.truncate(2600)
    write_folder(place / "pictures", 7)
    return place


@pytest.fixture(scope="module", params=["tars", "mixture", "filtered"])
def config(request, place):
    if request.param == "mixture":
        return tar_config(
            place,
            mixture=(
                f"webdataset:{place}/tars/*.tar=0.6",
                f"folder:{place}/pictures=0.4 captions=txt,folder",
            ),
        )
    condition = "'set-00002' not in key" if request.param == "filtered" else ""
    made = str(place / "made")
    return tar_config(place / "tars", train_split="*.tar", filter=condition, index_dir=made)


def take(config, tokenizer, start=0, count=STEPS, rows=None, **options):
    pipeline = TrainPipeline(
        dataclasses.replace(config, **options), SIZE, tokenizer, BATCH, rows, seed=5
    )
    batches = pipeline.batches(start)
    taken = list(itertools.islice(batches, count))
    batches.close()
    return taken, pipeline


@pytest.fixture(scope="module")
def whole(config, tokenizer):
    """Batches of one process that was never stopped."""
    return take(config, tokenizer)[0]


def joined(parts):
    return [Batch(*map(np.concatenate, zip(*own, strict=True))) for own in zip(*parts, strict=True)]


def assert_equal(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        for name, x, y in zip(Batch._fields, a, b, strict=True):
            np.testing.assert_array_equal(x, y, err_msg=name)


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_parts_of_all_processes_are_the_batch(config, tokenizer, whole, processes):
    count = BATCH // processes
    parts = [
        take(config, tokenizer, rows=(i * count, count), num_threads=i + 1)[0]
        for i in range(processes)
    ]
    assert_equal(joined(parts), whole)


@settings(max_examples=6, deadline=None)
@given(start=st.integers(0, STEPS - 1), process=st.integers(0, 2), cache=st.booleans())
def test_a_restart_at_any_step_goes_on_with_the_same_batches(
    config, tokenizer, whole, start, process, cache
):
    part, _ = take(config, tokenizer, start, STEPS - start, (4 * process, 4), cache=cache)
    expected = [Batch(*(x[4 * process : 4 * process + 4] for x in b)) for b in whole[start:]]
    assert_equal(part, expected)


@pytest.mark.slow
def test_reader_processes_give_the_same_batches(config, tokenizer, whole):
    assert_equal(take(config, tokenizer, 2, STEPS - 2, num_workers=2)[0], whole[2:])


def test_bad_records_are_replaced_within_their_component_and_listed_by_key(config, tokenizer):
    batches, pipeline = take(config, tokenizer, count=12)
    lines = pipeline.quarantine.lines()
    reasons = {line["key"].removeprefix("0:"): line["reason"] for line in lines}
    tar = "set-00001a"
    assert reasons[f"{tar}/1"] == "empty image" and reasons[f"{tar}/2"] == "damaged image"
    assert reasons[f"{tar}/3"] == "sample has no image" and reasons[f"{tar}/4"] == "no caption"
    assert reasons[f"{tar}/5"] == "text is not UTF-8"
    damaged = [line for line in lines if line["record"] is None]
    assert {line["reason"] for line in damaged} == {"tar is cut short"}
    assert pipeline.quarantine.damage == {"tar is cut short": len(damaged)}
    assert json.loads(json.dumps(lines)) == lines
    metrics = pipeline.quarantine.metrics()
    assert metrics["data/bad/empty image"] == 1 and metrics["data/bad/tar is cut short"] >= 1
    assert metrics["data/bad/draws"] == pipeline.quarantine.hits
    source = pipeline._source
    bad = {line["record"] for line in lines}
    if len(source.parts) == 2:
        drawn = np.concatenate([batch.index for batch in batches])
        share = (drawn < source.parts[0].stop).mean()
        assert share == pytest.approx(0.6, abs=0.02) and not bad & set(drawn.tolist())


def test_too_many_bad_records_name_some_by_key(config, tokenizer):
    with pytest.raises(DataError, match="set-00001a/"):
        take(config, tokenizer, count=400, max_bad_fraction=0.001)


def test_the_fingerprint_has_sources_shares_and_filter(config, tokenizer, place):
    _, pipeline = take(config, tokenizer, count=1)
    found = pipeline.fingerprint
    assert found == json.loads(json.dumps(found)) and str(place) not in json.dumps(found)
    assert found["records"] == pipeline.num_records
    others = [
        dataclasses.replace(config, caption_sampling="prefix"),
        dataclasses.replace(config, filter="similarity < 0.2") if not config.mixture else None,
        dataclasses.replace(config, mixture=config.mixture[:1]) if config.mixture else None,
    ]
    for other in filter(None, others):
        assert take(other, tokenizer, count=1)[1].fingerprint != found


def test_an_epoch_of_a_plain_source_draws_each_record_once(place, tokenizer):
    write_tars(place / "good", 24, each=7)
    batches, pipeline = take(tar_config(place / "good"), tokenizer, count=6)
    drawn = np.concatenate([batch.index for batch in batches]).reshape(3, 24)[:, :]
    assert pipeline.num_records == 24
    assert (np.sort(drawn, 1) == np.arange(24)).all()
