"""Directories in the Hub's layout: read or refused with a reason, and written without a change.

Long because every case reads or damages a copy of the same few published directories.
"""

import dataclasses
import json
import shutil
import struct
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import prolip
from prolip.checkpoint import CheckpointError
from prolip.cli.main import main
from prolip.config import ConfigError
from prolip.convert import convert
from prolip.interop import hub, released
from prolip.interop.errors import SourceError
from prolip.interop.hub_config import hub_config, model_config
from prolip.models import two_tower
from prolip.models.sizes import SIZES

FIXTURES = Path(__file__).parents[1] / "fixtures"
NAMES = ["tiny", "quickgelu", "tiny_det"]
TEXTS = ["A  photo of: a cat!", "", "cats and dogs"]


@pytest.fixture
def directory(tmp_path):
    """A copy of the tiny model that a test may damage."""
    return shutil.copytree(FIXTURES / "tiny", tmp_path / "tiny")


def change(directory, **fields):
    config = json.loads((directory / "config.json").read_text())
    for path, value in fields.items():
        *groups, key = path.split("__")
        group = config
        for name in groups:
            group = group[name]
        group[key] = value
    (directory / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("name", NAMES)
def test_five_lines_give_the_numbers_of_the_released_code(name):
    io = np.load(FIXTURES / f"{name}_io.npz")
    model = prolip.load(FIXTURES / name)
    images = model.encode_image(np.ascontiguousarray(io["images"].transpose(0, 2, 3, 1)))
    texts = model.encode_text(io["text"])
    np.testing.assert_allclose(images.mean, io["image_mean"], atol=1e-5)
    np.testing.assert_allclose(texts.mean, io["text_mean"], atol=1e-5)
    if name != "tiny_det":
        np.testing.assert_allclose(images.log_var, io["image_std"], rtol=1e-5)
        np.testing.assert_allclose(texts.log_var, io["text_std"], rtol=1e-5)
    assert model.logit_scale == pytest.approx(float(io["logit_scale_exp"]), rel=1e-6)
    assert model.logit_bias == pytest.approx(float(io["logit_bias"]), rel=1e-6)


def test_files_are_preprocessed_as_by_the_released_code():
    """Grey, transparent and palette pictures too, which it converts after it has resized them."""
    folder = Path(__file__).parents[1] / "data" / "fixtures" / "preprocess"
    outputs = np.load(folder / "outputs.npz")
    paths = sorted(folder.glob("*.png"))
    model = prolip.load(FIXTURES / "tiny")
    ready = np.stack([outputs[path.stem].transpose(1, 2, 0) for path in paths])
    with pytest.warns(UserWarning, match="1 of 8 images .*1 x transparency dropped"):
        ours = model.encode_image(paths)
    theirs = model.encode_image(ready)
    assert len(paths) == 8
    np.testing.assert_allclose(ours.mean, theirs.mean, atol=1e-5)
    np.testing.assert_allclose(ours.log_var, theirs.log_var, atol=1e-4)


def test_bfloat16_on_request():
    io = np.load(FIXTURES / "tiny_io.npz")
    images = np.ascontiguousarray(io["images"].transpose(0, 2, 3, 1))
    half = prolip.load(FIXTURES / "tiny", dtype="bfloat16").encode_image(images)
    full = prolip.load(FIXTURES / "tiny").encode_image(images)
    assert half.mean.dtype == np.float32
    difference = np.abs(half.mean - full.mean).max()
    assert 0 < difference < 0.03


@pytest.mark.parametrize("name", NAMES)
def test_there_and_back_is_exact_to_the_bit(name, tmp_path):
    convert(FIXTURES / name, tmp_path / "orbax", "orbax")
    convert(tmp_path / "orbax", tmp_path / "hub", "hub")
    before = load_file(FIXTURES / name / "model.safetensors")
    after = load_file(tmp_path / "hub" / "model.safetensors")
    assert {k: (v.shape, v.dtype) for k, v in before.items()} == {
        k: (v.shape, v.dtype) for k, v in after.items()
    }
    for key, value in before.items():
        assert value.tobytes() == after[key].tobytes(), key
    assert json.loads((FIXTURES / name / "config.json").read_text()) == json.loads(
        (tmp_path / "hub" / "config.json").read_text()
    )
    identities = [
        prolip.load(path).identity["weights"]
        for path in (FIXTURES / name, tmp_path / "orbax", tmp_path / "hub")
    ]
    assert len(set(identities)) == 1


def test_a_model_of_ours_has_the_tensors_that_the_released_code_saves(tmp_path):
    """Written without a config.json of theirs, from the architecture alone."""
    for name in NAMES:
        published = hub.read(FIXTURES / name)
        hub.write(tmp_path / name, published.config, published.params, None)
        theirs = load_file(FIXTURES / name / "model.safetensors")
        ours = load_file(tmp_path / name / "model.safetensors")
        if name == "tiny_det":  # Ours has a bias, theirs a bare matrix.
            assert set(ours) ^ set(theirs) == {
                "text.text_projection",
                "text.text_projection.weight",
                "text.text_projection.bias",
            }
        else:
            assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
        again = hub.read(tmp_path / name)
        assert again.config == published.config
        same = jax.tree.map(np.array_equal, again.params, published.params)
        assert jax.tree.all(same)


def test_the_statistics_of_images_travel_along(tmp_path):
    """A model trained with a mean of its own is not read back with that of the released code."""
    published = hub.read(FIXTURES / "tiny")
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    own = dataclasses.replace(published.preprocessing, mean=mean, std=std)
    for name, preprocessing in (("own", own), ("theirs", published.preprocessing)):
        config, params = published.config, published.params
        hub.write(tmp_path / name, config, params, None, preprocessing=preprocessing)
        assert hub.read(tmp_path / name).preprocessing == preprocessing
    # The form too: a model trained here is not read back with the released way of resizing.
    exact = dataclasses.replace(own, form="exact")
    hub.write(tmp_path / "exact", config, params, None, preprocessing=exact)
    assert hub.read(tmp_path / "exact").preprocessing == exact
    (tmp_path / "exact" / "preprocessing.json").write_text('{"mean": 1}')
    with pytest.raises(SourceError, match=r"preprocessing\.json is damaged"):
        hub.read(tmp_path / "exact")


@pytest.mark.parametrize("name", sorted(SIZES))
def test_every_named_size_survives_its_config_json(name):
    config = SIZES[name]
    if config.text.width != config.embed_dim:
        config = dataclasses.replace(config, embed_dim=config.text.width)
    for heads in ("released", "deterministic"):
        asked = dataclasses.replace(config, heads=heads)
        again = model_config(json.loads(json.dumps(hub_config(asked))))
        assert dataclasses.replace(again, unroll=asked.unroll) == asked


def test_our_own_wiring_is_not_published_under_a_false_flag():
    with pytest.raises(ConfigError, match="heads=released"):
        hub_config(SIZES["vit_b16"])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_half_precision_weights_are_widened(dtype, directory):
    tensors = load_file(directory / "model.safetensors")
    stored = {k: v.astype(dtype) for k, v in tensors.items()}
    save_file(stored, directory / "model.safetensors")
    params = hub.read(directory).params
    assert all(x.dtype == np.float32 for x in jax.tree.leaves(params))
    kernel = stored["visual.proj"].astype(np.float32)
    assert np.array_equal(params["image"]["mean"]["linear"]["kernel"], kernel)


def test_weights_in_several_files(directory):
    tensors = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    names = sorted(tensors)
    files = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, part in files.items():
        save_file({name: tensors[name] for name in part}, directory / file)
    index = {"weight_map": {name: file for file, part in files.items() for name in part}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    same = jax.tree.map(
        np.array_equal, hub.read(directory).params, hub.read(FIXTURES / "tiny").params
    )
    assert jax.tree.all(same)
    index["weight_map"]["logit_scale"] = "../tiny/model.safetensors"
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(SourceError, match="outside"):
        prolip.load(directory)


def test_all_wrong_tensors_are_in_one_error(directory):
    tensors = load_file(directory / "model.safetensors")
    del tensors["visual.proj"]
    tensors["text.ln_final.weight"] = np.zeros((5,), np.float32)
    tensors["visual.ln_extra.weight"] = np.zeros((3,), np.float32)
    save_file(tensors, directory / "model.safetensors")
    with pytest.raises(SourceError) as caught:
        prolip.load(directory)
    for line in (
        "1 missing: visual.proj [48, 32]",
        "1 of another shape: text.ln_final.weight [5] instead of [32]",
        "1 not known: visual.ln_extra.weight [3]",
    ):
        assert line in str(caught.value)


def test_a_missing_bias_of_the_logit_is_zero(directory):
    tensors = load_file(directory / "model.safetensors")
    del tensors["logit_bias"]
    save_file(tensors, directory / "model.safetensors")
    assert prolip.load(directory).logit_bias == 0


def test_numbers_that_are_not_finite_are_named(directory):
    tensors = load_file(directory / "model.safetensors")
    tensors["visual.proj"][3, 4] = np.nan
    save_file(tensors, directory / "model.safetensors")
    with pytest.raises(SourceError, match=r"visual\.proj.*not finite"):
        prolip.load(directory)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"text_cfg__no_causal_mask": False}, "no_causal_mask"),
        ({"text_cfg__embed_cls": False}, "embed_cls"),
        ({"vision_cfg__timm_model_name": "vit"}, "timm_model_name"),
        ({"vision_cfg__pool_type": "avg"}, "pool_type"),
        ({"vision_cfg__embed_unc": False}, "embed_unc differs"),
        ({"vision_cfg": None}, "not that of a ProLIP model"),
        ({"vision_cfg__image_size": [32, 48]}, "not square"),
        ({"vision_cfg__head_width": 0}, "not that of a ProLIP model"),
        ({"embed_dim": "wide"}, "wide"),
        ({"vision_cfg__patch_size": 7}, "does not divide"),
        ({"embed_dim": 48}, "text.width equal to embed_dim"),
        ({"preprocess_cfg": {"resize_mode": "squash"}}, "resize_mode is 'squash'"),
        ({"preprocess_cfg": {"interpolation": "bilinear"}}, "interpolation is 'bilinear'"),
        ({"preprocess_cfg": {"mean": 0.5}}, "preprocess_cfg is damaged"),
        ({"preprocess_cfg": {"std": [0.5, 0.5]}}, "std must be three"),
    ],
)
def test_other_architectures_are_refused(fields, words, directory):
    change(directory, **fields)
    with pytest.raises(SourceError, match=words):
        prolip.load(directory)


def damaged_headers():
    whole = (FIXTURES / "tiny" / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", whole[:8])[0]
    header = whole[8 : 8 + length]
    rng = np.random.default_rng(0)
    cases = [b"", b"\x00" * 7, whole[:8], whole[: 8 + length // 2], whole[: 8 + length], whole[:-1]]
    cases += [struct.pack("<Q", n) + whole[8:] for n in (0, 1, length - 1, 2**40, 2**63)]
    cases += [whole + b"\x00", b"PK\x03\x04" + whole, b"\x80\x02}q\x00."]
    for old, new in (
        (b'"F32"', b'"F99"'),
        (b'"F32"', b'"I32"'),
        (b'"shape":[', b'"shape":[-'),
        (b'"data_offsets":[', b'"data_offsets":[9'),
        (b"logit_scale", b"logit_bias\x00"),
        (b'"visual.proj"', b'"visual.prog"'),
        (b"{", b"["),
    ):
        assert old in header
        cases.append(whole[:8] + header.replace(old, new, 1) + whole[8 + length :])
    for _ in range(30):
        at = int(rng.integers(8 + length))
        cases.append(
            whole[:at] + bytes([whole[at] ^ (1 << int(rng.integers(8)))]) + whole[at + 1 :]
        )
    return cases


def test_broken_headers_are_refused_or_harmless(directory):
    """A damaged header either is a sentence or, in names of no meaning, changes no number."""
    good = hub.read(FIXTURES / "tiny").params
    refused = 0
    for number, content in enumerate(damaged_headers()):
        (directory / "model.safetensors").write_bytes(content)
        try:
            read = hub.read(directory).params
        except SourceError as error:
            assert "model.safetensors" in str(error) or "weights are not" in str(error), number
            refused += 1
        else:
            assert jax.tree.all(jax.tree.map(np.array_equal, read, good)), number
    assert refused >= 45


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff\xfe", b"[" * 100_000, b"null"])
def test_a_broken_config_is_refused(content, directory):
    (directory / "config.json").write_bytes(content)
    with pytest.raises(SourceError, match=r"config\.json"):
        prolip.load(directory)


@pytest.mark.parametrize("name", ["model.pt", "pytorch_model.bin"])
def test_pickles_are_never_opened(name, directory, capsys):
    (directory / "model.safetensors").unlink()
    (directory / name).write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    for source in (directory, directory / name):
        with pytest.raises(SourceError, match=r"pickle.*pt_to_safetensors"):
            prolip.load(source)
    assert main(["convert", str(directory), str(directory / "new"), "--to", "orbax"]) == 1
    assert "pt_to_safetensors" in capsys.readouterr().err


def test_a_pickle_elsewhere_stops_no_load(tmp_path, monkeypatch):
    """Such as one in the folder that a program is started in."""
    (tmp_path / "other.pt").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert prolip.load(FIXTURES / "tiny").config.embed_dim == 32


def test_offline_machines_are_told_what_to_place(monkeypatch, tmp_path):
    def offline(*args, **kwargs):
        raise ConnectionError("network is unreachable")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", offline)
    with pytest.raises(SourceError, match=r"config.json and model.safetensors of some/model"):
        prolip.load("some/model")
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    for slip in (tmp_path / "nothing", "runs/dem"):
        with pytest.raises(CheckpointError, match="does not exist"):
            prolip.load(slip)


def test_a_hub_id_is_read_from_the_cache(monkeypatch):
    asked = []

    def download(repository, name, revision=None):
        asked.append((repository, name, revision))
        if repository != "some/model":
            raise ConnectionError("network is unreachable")
        return str(FIXTURES / "tiny" / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    model = prolip.load("some/model@v1")
    assert model.identity == prolip.load(FIXTURES / "tiny").identity
    assert ("some/model", "model.safetensors", "v1") in asked
    with pytest.raises(SourceError, match="timm/ViT-B-16-SigLIP"):
        model.encode_text(["a cat"])


def test_a_step_of_a_published_checkpoint_is_refused():
    with pytest.raises(SourceError, match="no step 3"):
        prolip.load(FIXTURES / "tiny", step=3)


def test_destinations_that_are_taken_stay_as_they_are(directory):
    before = sorted(directory.iterdir())
    for to in ("orbax", "hub"):
        with pytest.raises(SourceError, match="not empty"):
            convert(FIXTURES / "tiny", directory, to)
    assert sorted(directory.iterdir()) == before


def test_tensors_come_from_one_place_each():
    """The table covers our parameters exactly: no number is left at its start or written twice."""
    for name in NAMES:
        published = hub.read(FIXTURES / name)
        bias = "text.text_projection" not in load_file(FIXTURES / name / "model.safetensors")
        wanted = released.table(published.config, bias)
        sizes = sum(int(np.prod(t.shape)) for t in wanted)
        leaves = jax.tree.leaves(two_tower.abstract_params(published.config))
        unused = 0 if bias else published.config.embed_dim
        assert sizes == sum(int(np.prod(x.shape)) for x in leaves) - unused
        assert len({t.name for t in wanted}) == len(wanted)
