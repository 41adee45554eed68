"""Weights that other programs wrote: wrappers' names, buffers, other layouts."""

import ast
import json
import logging
import shutil
import struct
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import prolip
from prolip.interop import hub, hub_download, tensor_names
from prolip.interop.errors import SourceError

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "fixtures" / "tiny"


@pytest.fixture
def directory(tmp_path):
    return shutil.copytree(TINY, tmp_path / "model")


def rename(directory, name):
    tensors = load_file(directory / "model.safetensors")
    save_file({name(k): v for k, v in tensors.items()}, directory / "model.safetensors")


def same_as_tiny(directory):
    good = hub.read(TINY).params
    return jax.tree.all(jax.tree.map(np.array_equal, hub.read(directory).params, good))


@pytest.mark.parametrize(
    "name",
    [
        lambda k: f"module.{k}",
        lambda k: f"_orig_mod.module.{k}",
        lambda k: k.replace("visual.", "visual._orig_mod."),
        lambda k: k.replace("resblocks.0.", "resblocks.0._fsdp_wrapped_module."),
        lambda k: f"model.{k}",
        lambda k: f"state.model._orig_mod.{k}",
    ],
)
def test_names_of_wrappers_are_taken_off(name, directory):
    rename(directory, name)
    assert same_as_tiny(directory)


def test_two_tensors_of_one_name_are_refused(directory):
    tensors = load_file(directory / "model.safetensors")
    tensors["module.visual.proj"] = tensors["visual.proj"] + 1
    save_file(tensors, directory / "model.safetensors")
    with pytest.raises(SourceError, match=r"would both be visual\.proj"):
        hub.read(directory)


def test_a_prefix_of_some_tensors_stays_and_is_seen(directory):
    rename(directory, lambda k: f"ema.{k}" if k.startswith("text.") else k)
    with pytest.raises(SourceError, match=r"not known: ema\.text\."):
        hub.read(directory)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text.attn_mask", np.full((4, 4), -np.inf, np.float32)),
        ("text.position_ids", np.arange(4)[None]),
        ("module.text.embeddings.position_ids", np.arange(4)[None]),
    ],
)
def test_buffers_are_left_out_with_a_note(name, value, directory, caplog):
    tensors = load_file(directory / "model.safetensors")
    save_file(tensors | {name: value}, directory / "model.safetensors")
    with caplog.at_level(logging.WARNING):
        assert same_as_tiny(directory)
    assert name in caplog.text


def test_a_long_list_of_tensors_is_cut_with_its_length(directory):
    rename(directory, lambda k: f"x{k}")
    with pytest.raises(SourceError) as caught:
        hub.read(directory)
    assert len(str(caught.value)) < 1000
    assert "70 missing: " in str(caught.value) and "71 not known: xlogit_bias" in str(caught.value)


def test_a_tensor_in_two_files_is_that_of_the_index(directory):
    tensors = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    save_file(tensors, directory / "a.safetensors")
    save_file({"visual.proj": tensors["visual.proj"] + 1}, directory / "b.safetensors")
    places = dict.fromkeys(tensors, "a.safetensors") | {"other": "b.safetensors"}
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    assert same_as_tiny(directory)


def test_headers_are_bounded_before_they_are_read(directory):
    for length, size, reason in ((90_000_000, 100, "ends within"), (9 << 20, 10 << 20, "header")):
        with (directory / "model.safetensors").open("wb") as file:
            file.write(struct.pack("<Q", length))
            file.truncate(size)
        with pytest.raises(SourceError, match=reason):
            hub.read(directory)


def test_a_model_in_another_layout_is_named_for_what_it_is(directory):
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").unlink()
    for weights in ("model.safetensors", "open_clip_model.safetensors", "open_clip_model.bin"):
        if weights != "model.safetensors":
            next(directory.glob("*model.safetensors")).rename(directory / weights)
        naming = "convert the weights to" if weights.endswith(".bin") else "name the weights"
        for model_cfg, words in (
            (config, f"layout of open_clip.* ProLIP architecture that can be read: .*{naming}"),
            (config | {"text_cfg": {}}, "layout of open_clip.* can't be read: .*no_causal_mask"),
            (None, "layout of open_clip.* can't be read"),
        ):
            text = json.dumps({"model_cfg": model_cfg, "preprocess_cfg": {}})
            (directory / "open_clip_config.json").write_text(text)
            with pytest.raises(SourceError, match=words):
                prolip.load(directory)
    (directory / "open_clip_config.json").unlink()
    (directory / "open_clip_model.bin").rename(directory / "open_clip_model.safetensors")
    with pytest.raises(
        SourceError, match=r"open_clip_model\.safetensors.* no layout that is known"
    ):
        prolip.load(directory)
    (directory / "config.json").write_text('{"model_type": "siglip"}')
    for name in ("pytorch_model.safetensors", "model.safetensors"):
        next(directory.glob("*.safetensors")).rename(directory / name)
        with pytest.raises(SourceError, match=r"layout of transformers .* 'siglip'"):
            prolip.load(directory)


def test_the_hub_s_index_is_checked_before_a_file_of_it_is_fetched(directory, monkeypatch):
    from huggingface_hub.errors import EntryNotFoundError

    def download(repository, name, revision=None):
        if name == "model.safetensors" or not (directory / name).exists():
            raise EntryNotFoundError(name)
        return str(directory / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    index = {"weight_map": {"a": "../../x"}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(SourceError, match="outside"):
        prolip.load("some/model")
    (directory / "config.json").unlink()
    with pytest.raises(SourceError, match=r"no config\.json .*open_clip"):
        prolip.load("some/model")
    assert hub_download.cached("../../../etc", "passwd") is None
    assert hub_download.cached("a" * 200 + "/b", "x") is None


def test_the_tool_knows_the_same_wrappers():
    tree = ast.parse((ROOT / "tools" / "pt_to_safetensors.py").read_text())
    values = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "WRAPPERS"
    }
    assert values == {"WRAPPERS": tensor_names.WRAPPERS}
