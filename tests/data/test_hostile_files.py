"""Files that were made to do harm: crafted indices, deep filters, escape codes in names."""

import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from webfiles import tar_config, write_tar

from prolip.cli.main import main
from prolip.config import ConfigError
from prolip.data.expression import MAX_DEPTH, Expression
from prolip.data.files.names import visible
from prolip.data.files.tar_index import FORMAT, MEMBERS, SAMPLES
from prolip.data.records import DataError
from prolip.data.sources.choose import open_train
from prolip.exit_codes import BAD_RECORDS


@pytest.mark.parametrize(
    ("members", "change"),
    [
        ([(0, 10**15, 9), (1, 0, 9)], {}),
        ([(0, 2**64 - 9, 9), (1, 0, 9)], {}),
        ([(0, 0, 2**60), (1, 0, 9)], {}),
        ([(0, 0, 500 << 20), (1, 0, 9)], {}),
        ([(7, 0, 9), (9, 0, 9)], {}),
        ([(0, 0, 9), (1, 0, 9)], {"members": (0, 5)}),
        ([(0, 0, 9), (1, 0, 9)], {"members": (1, 2**31)}),
        ([(0, 0, 9), (1, 0, 9)], {"keys": (1, 2**31)}),
        ([(0, 0, 9), (1, 0, 9)], {"samples": 2**40}),
        ([(0, 0, 9), (1, 0, 9)], {"members_": -3}),
    ],
)
def test_an_index_that_does_not_fit_its_tar_is_made_anew(tmp_path, members, change):
    path = write_tar(tmp_path / "set-0.tar", {"0.jpg": b"x" * 99, "0.txt": b"text", "1.jpg": b"y"})
    about = os.stat(path)
    samples = np.zeros(2, SAMPLES)
    samples["members"][1], samples["keys"][1] = len(members), 1
    for name in ("members", "keys"):
        if name in change:
            row, value = change[name]
            samples[name][row] = value
    arrays = samples.tobytes() + np.array(members, MEMBERS).tobytes() + b"0"
    line = {
        "format": FORMAT, "tar": [about.st_size, about.st_mtime_ns],
        "samples": change.get("samples", 1), "members": change.get("members_", len(members)),
        "extensions": ["jpg", "txt"], "problems": [], "num_problems": 0, "foreign": 0,
        "bytes": len(arrays), "checksum": zlib.crc32(arrays),
    }  # fmt: skip
    Path(f"{path}.index").write_bytes(json.dumps(line).encode() + b"\n" + arrays)
    config = tar_config(tmp_path, caption_features=("txt",), caption_weights=(1.0,))
    try:
        record = open_train(config)[0]
    except DataError as error:
        assert "has changed since the run began; start it again" in str(error)
        record = open_train(config)[0]
    assert record.image == b"x" * 99 and record.captions == (("text",),)


@pytest.mark.parametrize("text", ["+".join("1" * 900), "-" * 900 + "1", "not " * 900 + "x"])
def test_filters_have_a_greatest_depth(text):
    with pytest.raises(ConfigError, match=r"inside each other|can't be read"):
        Expression(text)
    assert Expression("+".join("1" * MAX_DEPTH)).value({}) == MAX_DEPTH


def test_escape_codes_of_names_do_not_reach_the_terminal(tmp_path, capsys):
    write_tar(tmp_path / "a.tar", {"\x1b[31m\n\u202e.jpg": b"x", "1.txt": b"t"})
    assert main(["data", "validate", str(tmp_path / "a.tar")]) == BAD_RECORDS
    out = capsys.readouterr().out
    assert "a/\\x1b[31m\\x0a\\u202e: " in out and "\x1b" not in out
    assert visible("a\nb\x9b", lines=True) == "a\nb\\x9b" and visible("é 🐈") == "é 🐈"


def test_paths_outside_of_the_folder_of_a_table_are_explained(tmp_path):
    (tmp_path / "tables").mkdir()
    path = tmp_path / "tables" / "t.csv"
    path.write_text(f"image,caption\n{tmp_path}/images/a.jpg,text\n")
    config = tar_config(
        path.parent, name="table", train_split="t.csv", caption_features=("caption",),
        caption_weights=(1.0,), image_feature="image",
    )  # fmt: skip
    (note,) = open_train(config).notes
    assert f"move the table to {tmp_path}," in note
