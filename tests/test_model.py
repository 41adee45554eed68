"""A model from a workdir: any form of input, any number of items, the same embeddings."""

import dataclasses
import io
import json

import jax
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import prolip
from prolip.checkpoint import CheckpointError
from prolip.cli import configuration
from prolip.config import (
    CheckpointConfig,
    ImageTowerConfig,
    LoggingConfig,
    ModelConfig,
    OptimizerConfig,
    TextTowerConfig,
    TokenizerConfig,
    TrainConfig,
    from_dict,
)
from prolip.data.image import normalize
from prolip.train import loop

TOWER = dict(width=16, depth=1, num_heads=2, mlp_dim=32)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run of two steps."""
    folder = tmp_path_factory.mktemp("model")
    config = configuration.load("emoji")
    config = dataclasses.replace(
        config,
        total_steps=2,
        global_batch=64,
        model=ModelConfig(
            embed_dim=16,
            image=ImageTowerConfig(16, 8, **TOWER),
            text=TextTowerConfig(14, 300, **TOWER),
        ),
        optimizer=OptimizerConfig(warmup_steps=1),
        data=dataclasses.replace(
            config.data, data_dir=str(folder / "data"), tokenizer=TokenizerConfig(vocab_size=300)
        ),
        checkpoint=CheckpointConfig(every=1),
        logging=LoggingConfig(tensorboard=False),
    )
    loop.train(config, str(folder / "run"), console=Console(file=io.StringIO()))
    return folder / "run"


@pytest.fixture(scope="module")
def model(workdir):
    return prolip.load(workdir)


def pictures(sizes):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in sizes]


def same(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5)


def test_every_form_of_an_image_gives_the_same_embedding(model, tmp_path):
    arrays = pictures([(20, 31), (16, 16), (40, 18)])
    images = [Image.fromarray(a) for a in arrays]
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for image, path in zip(images, paths, strict=True):
        image.save(path)
    expected = model.encode_image(arrays)
    np.testing.assert_allclose(np.linalg.norm(expected.mean, axis=1), 1, atol=1e-5)
    for form in (images, paths, [str(p) for p in paths]):
        same(model.encode_image(form), expected)


def test_float_images_are_taken_as_preprocessed(model):
    raw = np.stack(pictures([(16, 16)] * 3))
    mean, std = model.preprocessing.mean, model.preprocessing.std
    ready = np.asarray(normalize(raw, mean, std))
    same(model.encode_image(ready), model.encode_image(raw))
    with pytest.raises(ValueError, match="float32"):
        model.encode_image(ready[:, :8])


def test_strings_and_ids_give_the_same_embedding(model):
    texts = ["cat", "grinning face with big eyes", "flag"]
    same(model.encode_text(texts), model.encode_text(model.tokenizer(texts)))
    with pytest.raises(ValueError, match=r"\[text\]"):
        model.encode_text("cat")
    for ids in (
        np.full((1, 14), 300),
        np.zeros((1, 15), int),
        np.zeros(14, int),
        np.zeros((1, 14)),
    ):
        with pytest.raises(ValueError, match="token ids"):
            model.encode_text(ids)


def test_texts_may_be_an_array_of_strings(model):
    for texts in (np.array(["cat", "dog"]), np.array(["cat", "dog"], object), ("cat", "dog")):
        same(model.encode_text(texts), model.encode_text(["cat", "dog"]))


@pytest.mark.parametrize("value", [float("nan"), None, 3, b"cat"])
def test_a_value_that_is_no_text_is_named_with_its_position(value, model):
    for texts in (["a", "b", value], np.array(["a", "b", value], object)):
        with pytest.raises(ValueError, match=f"text 2 is not a string but {type(value).__name__}"):
            model.encode_text(texts)
    with pytest.raises(ValueError, match="a list of strings"):
        model.encode_text(3)


@pytest.mark.parametrize("text", ["", " ", "!!!", "\ufeff", "\u2028"])
def test_a_text_that_cleaning_empties_is_named_and_embedded_as_the_empty_one(text, model, caplog):
    embedded = model.encode_text(["cat", text])
    assert "1 of 2 texts, such as text 1" in caplog.text and "empty after cleaning" in caplog.text
    caplog.clear()
    np.testing.assert_array_equal(embedded.mean[1], model.encode_text([""]).mean[0])
    assert not caplog.text


def test_letters_that_the_tokenizer_lacks_are_counted(model, caplog):
    model.encode_text(["cat", "\N{CAT FACE}", "ねこ"])
    assert "2 of 3 texts have letters" in caplog.text
    caplog.clear()
    model.encode_text(["cat"])
    assert not caplog.text


def test_ids_may_be_of_jax(model):
    ids = model.tokenizer(["red circle"])
    assert np.array_equal(
        model.encode_text(jax.numpy.asarray(ids)).mean, model.encode_text(ids).mean
    )


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_that_holds_nothing_is_refused(batch_size, model):
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        model.encode_text(["red circle"], batch_size=batch_size)


def test_one_image_is_no_list_of_images(model, tmp_path):
    (array,) = pictures([(16, 16)])
    for one in (array, Image.fromarray(array), "cat.png", tmp_path / "cat.png"):
        with pytest.raises(ValueError, match=r"\[image\]"):
            model.encode_image(one)


def test_an_item_embeds_the_same_alone_and_in_a_crowd(model):
    texts = [f"{word} {i}" for i in range(30) for word in ("cat", "red heart")]
    together = model.encode_text(texts, batch_size=16)
    for i in (0, 17, 59):
        same(model.encode_text([texts[i]]), [x[i : i + 1] for x in together])
    assert model.encode_text([]).mean.shape == (0, 16)


def test_ragged_sizes_do_not_compile_again(model):
    model.encode_text(["a"] * 40, batch_size=8)
    compiled = model._text._cache_size()
    for n in (1, 3, 5, 7, 8, 9, 15, 41):
        model.encode_text(["a"] * n, batch_size=8)
    assert model._text._cache_size() == compiled


def test_a_checkpoint_is_all_that_loading_needs(workdir, tmp_path, model):
    """Copied without the workdir around it, and with the older step asked for by number."""
    import shutil

    shutil.copytree(workdir / "checkpoints", tmp_path / "checkpoints")
    alone = prolip.load(tmp_path / "checkpoints")
    same(alone.encode_text(["cat"]), model.encode_text(["cat"]))
    older = prolip.load(tmp_path / "checkpoints", step=1)
    assert older.source == str(tmp_path / "checkpoints" / "1")
    assert prolip.load(older.source).identity == older.identity
    assert not np.allclose(older.encode_text(["cat"]).mean, model.encode_text(["cat"]).mean)
    with pytest.raises(CheckpointError):
        prolip.load(tmp_path / "checkpoints", step=7)
    with pytest.raises(CheckpointError):
        prolip.load(tmp_path / "nothing")


def test_an_unreadable_image_is_named(model, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    good = pictures([(16, 16)])[0]
    with pytest.raises(ValueError, match=r"image 1 can't be read: .*broken\.png: "):
        model.encode_image([good, tmp_path / "broken.png"])


def test_public_names_are_those_that_are_documented(workdir):
    for name in prolip.__all__:
        assert getattr(prolip, name) is not None
    with pytest.raises(AttributeError, match="encode"):
        prolip.encode  # noqa: B018
    config = from_dict(TrainConfig, json.loads((workdir / "config.json").read_text()))
    assert config.total_steps == 2
    assert isinstance(prolip.load(workdir).logit_scale, float)
    assert jax.device_count() == 8
