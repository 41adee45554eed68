"""The list of bad records: each once, at the same cost, whole after a kill."""

import json
from pathlib import Path

from prolip.data.quarantine import Quarantine
from prolip.data.quarantine_file import QuarantineFile
from prolip.data.records import Bad
from prolip.workdir import read_jsonl

DAMAGE = Bad(None, "0.tar/", "tar is cut short")


def bad(number, reason="damaged image"):
    return Bad(number, f"0/{number}", reason)


def test_counts_are_of_distinct_records_and_each_is_handed_over_once():
    account = Quarantine(1.0, [DAMAGE])
    account.add(5, [bad(70_000), bad(3, "no caption"), bad(70_000)])
    assert account.take() == [DAMAGE, bad(70_000), bad(3, "no caption")]
    account.add(5, [bad(3, "no caption"), bad(4)])
    assert account.take() == [bad(4)] and not account.take()
    assert (len(account), account.seen, account.hits) == (3, 15, 5)
    assert account.metrics() == {
        "data/bad/draws": 5,
        "data/bad/tar is cut short": 1,
        "data/bad/damaged image": 2,
        "data/bad/no caption": 1,
    }


def test_records_are_appended_without_reading_or_writing_the_others(tmp_path, monkeypatch):
    path = tmp_path / "quarantine.jsonl"
    written = QuarantineFile(path)
    written.append([DAMAGE, bad(1)])
    monkeypatch.setattr(Path, "read_bytes", None)
    before = path.stat().st_ino
    written.append(map(bad, range(2, 5)))
    written.flush()
    monkeypatch.undo()
    assert path.stat().st_ino == before  # Not written anew.
    assert [row["record"] for row in read_jsonl(path)] == [None, 1, 2, 3, 4]


def test_a_cut_line_is_mended_and_nothing_is_listed_twice_after_a_restart(tmp_path):
    path = tmp_path / "quarantine.jsonl"
    QuarantineFile(path).append([DAMAGE, *map(bad, range(4))])
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        QuarantineFile(path).append([DAMAGE, *map(bad, range(6))])
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert sorted(row["record"] for row in rows if row["record"] is not None) == [*range(6)]
        assert [row["reason"] for row in rows if row["record"] is None] == [DAMAGE.reason]


def test_a_record_of_other_data_under_a_known_number_is_listed(tmp_path):
    path = tmp_path / "quarantine.jsonl"
    QuarantineFile(path).append([bad(1)])
    QuarantineFile(path).append([Bad(1, "other/1", "no caption"), bad(1)])
    assert [row["key"] for row in read_jsonl(path)] == ["0/1", "other/1"]
