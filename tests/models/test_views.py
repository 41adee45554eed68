"""Several views in one way through the towers: the embeddings and gradients of each by itself."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from prolip import sharding
from prolip.config import MeshConfig
from prolip.models import sizes, two_tower

CONFIG = dataclasses.replace(sizes.TINY, heads="paper", remat="hidden", block_rows=4)


def views_of(model):
    """Whole images with whole texts, and fewer images of some patches with shorter texts."""
    image, keys = model.config.image, iter(jax.random.split(jax.random.key(0), 4))
    side = image.image_size
    lengths = (model.config.text.length, model.config.text.length - 3)
    return [
        (
            np.asarray(jax.random.normal(next(keys), (rows, side, side, 3))),
            np.asarray(
                jax.random.randint(next(keys), (rows, length), 0, model.config.text.vocab_size)
            ),
            keep,
        )
        for rows, length, keep in ((8, lengths[0], None), (4, lengths[1], jnp.array([0, 3, 5])))
    ]


def one_by_one(model, params, views):
    return [
        (model.image(params, view.images, view.keep), model.text(params, view.tokens))
        for view in views
    ]


# As images, in parts, and what does not divide.
@pytest.mark.parametrize(("text_rows", "text_parts"), [(0, 3), (2, 6), (3, 2)])
def test_views_together_are_the_views_one_by_one(text_rows, text_parts):
    mesh = sharding.make_mesh(MeshConfig(), jax.devices()[:1])
    with jax.set_mesh(mesh):
        model = two_tower.build(dataclasses.replace(CONFIG, text_block_rows=text_rows))
        params = model.init(jax.random.key(1))
        views = [
            two_tower.View(*sharding.to_global(mesh, (images, tokens)), keep)
            for images, tokens, keep in views_of(model)
        ]
        compare(model, params, views)
        assert scans(model, params, views) == [3, text_parts]


def scans(model, params, views):
    """Parts that each scan over the blocks carries: one scan for a tower, whatever the views."""
    program = jax.make_jaxpr(lambda params: model.views(params, views))(params)
    return [e.params["num_carry"] for e in program.eqns if e.primitive.name == "scan"]


def compare(model, params, views):
    directions = jax.tree.map(
        lambda x: jax.random.normal(jax.random.key(2), x.shape, out_sharding=x.sharding),
        jax.eval_shape(one_by_one_of(model, views), params),
    )

    def gradient(embed):
        def loss(params):
            products = jax.tree.map(lambda x, y: (x * y).sum(), embed(params), directions)
            return sum(jax.tree.leaves(products))

        return jax.jit(jax.value_and_grad(loss))(params)

    together = gradient(lambda params: model.views(params, views))
    apart = gradient(one_by_one_of(model, views))
    jax.tree.map(
        lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-4 * np.abs(y).max()),
        *jax.device_get((together, apart)),
    )
    for x, y in zip(
        jax.tree.leaves(model.views(params, views)),
        jax.tree.leaves(one_by_one(model, params, views)),
        strict=True,
    ):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)


def one_by_one_of(model, views):
    return lambda params: one_by_one(model, params, views)
