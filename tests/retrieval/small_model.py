"""A model with random parameters that embeds in milliseconds, and pictures for it."""

import io
import json

import jax
import numpy as np
from PIL import Image

from prolip import sharding
from prolip.checkpoint import CheckpointStore
from prolip.config import (
    ImageTowerConfig,
    MeshConfig,
    ModelConfig,
    TextTowerConfig,
    TokenizerConfig,
    TrainConfig,
    to_dict,
)
from prolip.data.image import Preprocessing
from prolip.data.tokenizer import make_tokenizer
from prolip.model import Model
from prolip.models import two_tower

TOWER = dict(width=16, depth=1, num_heads=2, mlp_dim=32)
CONFIG = ModelConfig(
    embed_dim=8,
    image=ImageTowerConfig(16, 8, **TOWER),
    text=TextTowerConfig(14, 300, **TOWER),
)
PREPROCESSING = Preprocessing(16, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))


def small_model(devices=1, seed=0):
    """Equal parameters for equal seeds, on so many devices."""
    mesh = sharding.make_mesh(MeshConfig(), jax.local_devices()[:devices])
    tower = two_tower.build(CONFIG)
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        shapes = jax.eval_shape(lambda: tower.init(jax.random.key(0)))
    rng = np.random.default_rng(seed)
    params = jax.tree.map(
        lambda x: jax.device_put(rng.normal(0, 0.2, x.shape).astype(x.dtype), x.sharding),
        sharding.abstract(shapes, mesh),
    )
    words = [f"a text about thing number {n}" for n in range(100)]
    tokenizer = make_tokenizer(TokenizerConfig(vocab_size=300), 14, words)
    return Model(CONFIG, params, tokenizer, PREPROCESSING, mesh)


def save(model, workdir):
    """As the checkpoint of a run."""
    assets = {
        "config.json": json.dumps(to_dict(TrainConfig(model=CONFIG))).encode(),
        "preprocessing.json": json.dumps(PREPROCESSING.to_dict()).encode(),
        **model.tokenizer.files(),
    }
    with CheckpointStore(workdir / "checkpoints", write=True) as store:
        store.save(1, {"params": model._params}, {}, assets)


def picture(number, width=20, height=17):
    """Differs from that of every other number."""
    pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image, form="PNG", **options):
    """An image as a file has it."""
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png(number):
    """A picture as a file has it."""
    return encoded(picture(number))


def write_pictures(folder, count):
    """A folder of pictures that are named by their numbers."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:02}.png").write_bytes(png(number))
    return folder
