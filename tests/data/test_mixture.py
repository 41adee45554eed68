"""Mixtures: exact shares, own permutations, and an epoch that is written down."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from webfiles import tar_config, write_folder, write_tars

from prolip.config import ConfigError
from prolip.data.order import TURNS, sample_order, turns
from prolip.data.records import DataError
from prolip.data.sources.choose import open_train


def taken(parts, shares, count, seed=0):
    order = sample_order(parts, shares, seed)
    return np.array([order[i] for i in range(count)])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=5))
def test_at_every_place_a_component_is_at_most_one_sample_off_its_share(shares):
    found = turns(shares)
    wanted = np.asarray(shares) / sum(shares)
    counts = np.stack([np.cumsum(found == i) for i in range(len(shares))], 1)
    ideal = np.outer(np.arange(1, TURNS + 1), wanted)
    assert np.abs(counts - ideal).max() <= len(shares)


def test_components_come_in_permutations_of_their_own_in_their_shares():
    parts, count = [range(0, 300), range(300, 1200)], 4000
    found = taken(parts, [0.25, 0.75], count)
    first, second = found[found < 300], found[found >= 300]
    assert (len(first), len(second)) == (count // 4, 3 * count // 4)
    for component, part in ((first, parts[0]), (second, parts[1])):
        epochs = component[: 3 * len(part)].reshape(3, len(part))
        assert (np.sort(epochs, 1) == np.arange(part.start, part.stop)).all()
        assert (epochs[0] != epochs[1]).any() and (epochs[1] != epochs[2]).any()


def test_an_order_is_a_function_of_seed_and_position():
    parts, shares = [range(0, 900), range(900, 2000)], [0.5, 0.5]
    whole = taken(parts, shares, 700, 3)
    order = sample_order(parts, shares, 3)
    assert [order[i] for i in (699, 3, 400)] == whole[[699, 3, 400]].tolist()
    assert order[2 * TURNS + 7] == order[2 * TURNS + 7]
    assert (whole != taken(parts, shares, 700, 4)).any()
    # Components of the same length don't go through their records in step.
    same = taken([range(0, 400), range(400, 800)], [0.5, 0.5], 80)
    assert (same[same < 400] + 400 != same[same >= 400]).any()


def test_positions_far_away_are_as_near_as_others():
    order = sample_order([range(0, 1000), range(1000, 9000)], [0.1, 0.9], 0)
    far = np.array([order[10**12 + i] for i in range(1000)])
    assert (far < 1000).sum() == 100 and len(set(far[far >= 1000].tolist())) == 900


def test_one_component_is_in_the_order_of_a_plain_split():
    assert (taken([range(9)], [1.0], 30, 5) == taken([range(9)], [0.3], 30, 5)).all()


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixture")
    write_tars(folder / "tars", 12)
    write_folder(folder / "pictures", 6)
    return folder


def mixed(folder, *words, **options):
    return tar_config(folder, mixture=words, **options)


def words(places):
    return (
        f"webdataset:{places}/tars/set-*.tar=0.75 captions=txt,json/texts",
        f"folder:{places}/pictures=0.25 captions=txt,folder",
    )


def test_a_mixture_has_the_records_of_its_components(places):
    source = open_train(mixed(places, *words(places)))
    assert len(source) == 18 and source.parts == (range(0, 12), range(12, 18))
    assert source[3].key == source.key(3) == "0:set-00000/000000003"
    assert source[13].key.startswith("1:round/") and source[13].captions[1] == ("round",)
    about = source.describe()["mixture"]
    assert [part["share"] for part in about] == [0.75, 0.25]
    assert [part["records"] for part in about] == [12, 6]


def test_tfds_is_a_component_like_others(places, toy):
    config = dataclasses.replace(toy, mixture=("tfds:toy:train=1", f"{words(places)[0]} image=jpg"))
    source = open_train(config)
    assert len(source) == 35 and source.key(7) == "0:7" and source[30].key.startswith("1:")


def test_the_digest_tells_shares_and_components_apart(places):
    first, second = words(places)
    found = {
        open_train(mixed(places, *listed)).digest()
        for listed in (
            (first, second),
            (second, first),
            (first.replace("0.75", "0.5"), second),
            (first,),
        )
    }
    assert len(found) == 4


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("webdataset:/a/*.tar", "no share above zero"),
        ("webdataset:/a/*.tar=0", "no share above zero"),
        ("webdataset:/a/*.tar=-1", "no share above zero"),
        ("webdataset:/a/*.tar=inf", "no share above zero"),
        ("webdataset=1", "names no data"),
        ("webdatast:/a/*.tar=1", "did you mean 'webdataset'"),
        ("webdataset:/a/*.tar=1 captions=txt", "has 1 caption features"),
        ("webdataset:/a/*.tar=1 captions=a,b captions=a,b", "twice"),
    ],
)
def test_words_of_another_form_are_refused(places, word, sentence):
    with pytest.raises(ConfigError, match=sentence):
        open_train(mixed(places, word))


def test_shares_that_are_too_small_for_a_turn_are_refused():
    with pytest.raises(DataError, match="less than one sample"):
        sample_order([range(3), range(3, 6)], [1.0, 1e-6], 0)
