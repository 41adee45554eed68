"""A process that follows the first one says what went wrong with its own part."""

import signal

from prolip.data.records import DataError
from prolip.evals import together


def test_a_follower_names_its_own_error_and_goes_on(monkeypatch, caplog):
    said = iter([3, together.SET - 1, together.END])
    monkeypatch.setattr(together, "agree", lambda _: next(said))
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def fail(number):
        raise DataError(f"part {number} is damaged")

    assert together.follow(fail, lambda _: None, fail) == 0
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    for record, number in zip(caplog.records, (3, 1), strict=True):
        message = record.getMessage()
        assert "process 0 of 1" in message and f"DataError: part {number} is damaged" in message
