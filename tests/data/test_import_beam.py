"""Imports on an Apache Beam runner; where Beam is installed (`make test-beam`)."""

import sys

import pytest
from webfiles import tar_config, write_tar, write_tars

from prolip.config import ConfigError
from prolip.data.importing import beam
from prolip.data.importing import plan as plans
from prolip.data.importing.plan import ImportOptions, Plan
from prolip.data.importing.run import import_data
from prolip.data.records import DataError

DIRECT = "runner=DirectRunner"
PROCESSES = f"{DIRECT},direct_num_workers=2,direct_running_mode=multi_processing"


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Several shards of a small set."""
    monkeypatch.setattr(plans, "_shards", lambda source, config, options: options.shard_mib)


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def test_options_become_words_of_a_command_line():
    assert beam.flags("runner=DirectRunner, --streaming,,region=eu") == [
        *("--runner=DirectRunner", "--streaming", "--region=eu")
    ]


def test_without_beam_a_sentence_says_how_to_have_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    write_tars(tmp_path / "tars", 4)
    config = tar_config(tmp_path / "tars")
    with pytest.raises(ConfigError, match=r"pip install 'prolip\[beam\]' in an environment of its"):
        import_data(config, tmp_path / "out", ImportOptions("mine", shard_mib=2, beam=DIRECT))
    with pytest.raises(ConfigError, match="--workers are processes here"):
        import_data(config, tmp_path / "out", ImportOptions("mine", workers=2, beam=DIRECT))


@pytest.mark.slow
@pytest.mark.parametrize("options", [DIRECT, PROCESSES], ids=["one process", "processes"])
def test_the_files_are_those_of_an_import_without_it(options, tmp_path):
    pytest.importorskip("apache_beam")
    write_tars(tmp_path / "tars", 9)
    write_tar(tmp_path / "tars" / "set-bad.tar", {"x.png": b"no image", "x.txt": b"a"})
    config, told = tar_config(tmp_path / "tars"), []
    plain = import_data(config, tmp_path / "plain", ImportOptions("mine", shard_mib=3))
    on_beam = ImportOptions("mine", shard_mib=3, beam=options)
    found = import_data(config, tmp_path / "beam", on_beam, advance=told.append)
    assert found.bad == plain.bad and found.bad.total() == 1 and sum(told) == 10
    assert contents(found.folder) == contents(plain.folder)


@pytest.mark.slow
def test_what_failed_is_a_sentence_and_the_rest_is_not_done_again(tmp_path, monkeypatch):
    pytest.importorskip("apache_beam")
    write_tars(tmp_path / "tars", 9)
    config = tar_config(tmp_path / "tars")
    options = ImportOptions("mine", shard_mib=3, beam=DIRECT)
    finish, finished = Plan.finish, []

    def fails(plan, shard, *rest):
        if shard == 1:
            raise OSError("the disk is gone")
        finished.append(shard)
        return finish(plan, shard, *rest)

    monkeypatch.setattr(Plan, "finish", fails)
    with pytest.raises(DataError, match=r"the Beam pipeline failed .*; the same command goes on"):
        import_data(config, tmp_path / "out", options)
    monkeypatch.setattr(Plan, "finish", lambda *args: finished.append(args[1]) or finish(*args))
    found = import_data(config, tmp_path / "out", options)
    assert sorted(finished) == [0, 1, 2] and found.records == 9
    plain = import_data(config, tmp_path / "plain", ImportOptions("mine", shard_mib=3))
    assert contents(found.folder) == contents(plain.folder)
