"""What a run may go on with, told from what it began with."""

import json

import pytest

from prolip.config import ConfigError
from prolip.train.resume import check_fingerprint, samples_seen

MIXTURE = {"mixture": [{"records": 30, "data_set": "table", "share": 0.7}], "seed": 0}


def test_what_was_stored_is_what_it_was_whatever_the_order_of_its_keys():
    stored = json.loads(json.dumps(MIXTURE, sort_keys=True))
    assert list(stored["mixture"][0]) != list(MIXTURE["mixture"][0])
    check_fingerprint(stored, MIXTURE, allow_changes=False)


def test_other_records_in_a_mixture_are_other_data():
    other = {**MIXTURE, "mixture": [{**MIXTURE["mixture"][0], "records": 31}]}
    with pytest.raises(ConfigError, match="not what the checkpoint was trained on"):
        check_fingerprint(MIXTURE, other, allow_changes=False)
    check_fingerprint(MIXTURE, other, allow_changes=True)


def test_samples_are_counted_or_those_of_equal_batches_where_nothing_counted_them():
    meta = {"step": 5, "data": {"global_batch": 64}}
    assert samples_seen(meta) == 320
    assert samples_seen({**meta, "samples": 200}) == 200
