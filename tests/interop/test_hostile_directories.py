"""Published directories that strangers made: a sentence with file and field, soon, for each."""

import json
import os
import shutil
import struct
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models

from prolip.interop import hub
from prolip.interop.errors import SourceError

TINY = Path(__file__).parents[1] / "fixtures" / "tiny"


@pytest.fixture
def directory(tmp_path):
    return shutil.copytree(TINY, tmp_path / "model")


def change(directory, group, fields):
    config = json.loads((directory / "config.json").read_text())
    (config[group] if group else config).update(fields)
    (directory / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("group", "field", "value"),
    [
        *(("vision_cfg", "layers", value) for value in (10**9, -1, 0, 1.5, "3", [[]], 10**400)),
        *(("vision_cfg", "width", value) for value in (10**7, 0, None, True)),
        *(("vision_cfg", "image_size", value) for value in (10**6, -16, [224, "x"], [])),
        *(("vision_cfg", "patch_size", value) for value in (0, 1e300, float("inf"))),
        *(("vision_cfg", "mlp_ratio", value) for value in (1e308, float("nan"), "9" * 5000, -1)),
        ("vision_cfg", "head_width", 0),
        ("vision_cfg", "norm_kwargs", "eps"),
        *(("vision_cfg", "norm_kwargs", {"eps": value}) for value in (float("nan"), 0, "x")),
        *(("text_cfg", "vocab_size", value) for value in (10**10, 2**31, -1)),
        *(("text_cfg", "context_length", value) for value in (10**9, -5)),
        *(("text_cfg", "heads", value) for value in (0, 7, 10**5)),
        *(("text_cfg", "hf_tokenizer_name", value) for value in ([1], 5)),
        ("text_cfg", "tokenizer_kwargs", [1]),
        *(("", "embed_dim", value) for value in (10**9, -1)),
        *(("", name, value) for name in ("vision_cfg", "text_cfg") for value in (None, [], 5)),
        ("", "init_logit_scale", 1e308),
        *(("", "preprocess_cfg", {"mean": [value] * 3}) for value in (float("nan"), 10**400)),
        *(("", "preprocess_cfg", {"std": [value] * 3}) for value in (0, float("inf"), -1)),
        ("", "preprocess_cfg", {"mean": [0] * 100}),
    ],
)
def test_fields_that_no_model_has_are_refused(group, field, value, directory):
    change(directory, group, {field: value})
    with pytest.raises(SourceError) as caught:
        hub.read(directory)
    assert "config.json" in str(caught.value) and len(str(caught.value)) < 700


@pytest.mark.parametrize(
    "name", ["../../../../etc", "/etc/passwd", "a" * 10_000 + "/b", "\ud800/x"]
)
def test_a_tokenizer_s_name_is_no_path(name, directory):
    from prolip.interop.hub_download import cached

    change(directory, "text_cfg", {"hf_tokenizer_name": name})
    read = hub.read(directory, fetch=cached)
    assert read.tokenizer is None and len(read.no_tokenizer) < 600


@pytest.mark.parametrize(
    "name", ["config.json", "preprocessing.json", "model.safetensors", "tokenizer_spec.json"]
)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "deep"])
def test_files_of_another_kind_are_named(kind, name, directory):
    path = directory / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_text('{"a":' * 100_000)
    with pytest.raises(SourceError, match=name):
        hub.read(directory)


def test_a_config_beyond_its_size_is_not_read(directory):
    os.truncate(directory / "config.json", 17 << 20)
    with pytest.raises(SourceError, match=r"config\.json has 17,825,792 bytes"):
        hub.read(directory)


@pytest.mark.parametrize(
    "value",
    [
        {"image_size": 10**8, "mean": [0, 0, 0], "std": [1, 1, 1]},
        {"image_size": 64, "mean": [0, 0, 0], "std": [1, 1, 1]},
        {"image_size": 32, "mean": [0, 0, 0], "std": [0, 0, 0]},
        {"image_size": 32, "mean": [float("nan")] * 3, "std": [1, 1, 1]},
        {"image_size": 32, "mean": ["x"] * 3, "std": [1, 1, 1]},
        {"image_size": 32, "mean": [0, 0], "std": [1, 1]},
        {"image_size": 32, "mean": 0, "std": [1, 1, 1]},
        {"image_size": "32", "mean": [0, 0, 0], "std": [1, 1, 1]},
        {"image_size": 32, "mean": [0, 0, 0], "std": [1, 1, 1], "form": "evil"},
        {"image_size": 32, "mean": [0, 0, 0], "std": [1, 1, 1], "more": 1},
        {},
    ],
)
def test_preprocessing_that_makes_no_numbers_is_refused(value, directory):
    (directory / "preprocessing.json").write_text(json.dumps(value))
    with pytest.raises(SourceError, match=r"preprocessing\.json|three finite numbers"):
        hub.read(directory)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", ".", "", "..", "a\0b", 5, ["a"]])
def test_an_index_names_files_beside_it(name, directory):
    (directory / "model.safetensors").unlink()
    index = {"weight_map": {"a": name}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(SourceError, match=r"index\.json (names a file outside|is damaged)"):
        hub.read(directory)


def test_an_index_of_too_many_files(directory):
    (directory / "model.safetensors").unlink()
    index = {"weight_map": {f"a{i}": f"f{i}" for i in range(10_001)}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(SourceError, match="names 10,001 files"):
        hub.read(directory)


def test_sizes_without_data_and_overlaps_are_refused(directory):
    for tensors in (
        {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 0]}},
        {n: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for n in "ab"},
    ):
        text = json.dumps(tensors).encode()
        (directory / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"1234")
        with pytest.raises(SourceError, match=r"model\.safetensors"):
            hub.read(directory)


@pytest.mark.parametrize(
    "spec",
    [
        {"file": "../../../etc/passwd"},
        {"length": "x"},
        {"length": 10**12, "pad_id": 10**12},
        {"cleaning": ["lower"]},
        {"pad_id": [], "mask_id": None},
    ],
)
def test_a_spec_of_a_tokenizer_that_is_none(spec, directory):
    made = Tokenizer(models.WordLevel({"[PAD]": 0, "a": 1, "[UNK]": 2}, "[UNK]"))
    made.save(str(directory / "tokenizer.json"))
    good = {"file": "tokenizer.json", "length": 16, "pad_id": 0, "mask_id": 0, "cleaning": "lower"}
    (directory / "tokenizer_spec.json").write_text(json.dumps(good))
    assert hub.read(directory).tokenizer is not None
    (directory / "tokenizer_spec.json").write_text(json.dumps(good | spec))
    with pytest.raises(SourceError):
        hub.read(directory)


def test_weights_with_infinite_numbers_are_refused(directory):
    tensors = load_file(directory / "model.safetensors")
    tensors["text.cls_emb"][0] = float("inf")
    save_file(tensors, directory / "model.safetensors")
    with pytest.raises(SourceError, match=r"text\.cls_emb.*not finite"):
        hub.read(directory)
