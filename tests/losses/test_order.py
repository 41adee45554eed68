"""Which text includes which, against sets; and what the loss makes of it."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from prolip import losses
from prolip.config import ObjectiveConfig
from prolip.gaussian import Gaussian
from prolip.losses.objective import Embeddings, objective
from prolip.losses.order import next_includer


@st.composite
def matches(draw):
    """Booleans [images, texts] in which text i matches image i, with chains among them."""
    count = draw(st.integers(1, 9))
    found = np.eye(count, dtype=bool)
    for text in range(count):
        low = draw(st.integers(0, text))
        high = draw(st.integers(text, count - 1))
        found[low : high + 1, text] = True
    extra = draw(st.lists(st.tuples(*2 * [st.integers(0, count - 1)]), max_size=5))
    for image, text in extra:
        found[image, text] = True
    return found


@settings(deadline=None)
@given(matches())
def test_next_includer_is_that_of_sets(found):
    sets = [frozenset(np.flatnonzero(column)) for column in found.T]
    got = next_includer(jnp.asarray(found))
    for text, images in enumerate(sets):
        above = [(len(other), j) for j, other in enumerate(sets) if images < other]
        assert bool(got.exists[text]) == bool(above)
        if above:
            assert int(got.row[text]) == min(above)[1]


def hierarchy():
    """Eight images; captions 1-8 fit one each, 11-14 two each, 21 and 22 four, 31 all."""
    known = [[1 + i, 11 + i // 2, 21 + i // 4, 31] for i in range(8)]
    drawn = [1, 2, 11, 4, 21, 6, 31, 8]
    return jnp.asarray(known), jnp.asarray(drawn)


def total(text, config):
    known, drawn = hierarchy()
    point = Gaussian(jnp.eye(8), jnp.full((8, 8), -3.0))
    return objective(
        config, Embeddings(point, text, None, None), jnp.ones(()), jnp.zeros(()), known, drawn
    )


def test_general_texts_become_wider_along_the_chain():
    config = ObjectiveConfig(
        ppcl=0, bottleneck=0, inclusion_image_text=0, inclusion_text_text=1.0, inclusion_scale=10.0
    )
    mean, log_var = jnp.eye(8), jnp.full((8, 8), -3.0)
    step = jax.jit(jax.grad(lambda v: total(Gaussian(mean, v), config)[0]))
    for _ in range(200):
        log_var -= 20 * step(log_var)
    width = dict(zip(hierarchy()[1].tolist(), np.exp(log_var).sum(1), strict=True))
    # Of captions 6 and 8 the next includer is 31 itself; 1 lies in 11 in 21 in 31.
    assert width[1] < width[11] < width[21] < width[31]
    assert max(width[6], width[8]) < width[31]


def test_no_order_is_no_loss_and_rows_without_one_do_not_count():
    inner = Gaussian(jnp.zeros((3, 4)), jnp.zeros((3, 4)))
    outer = Gaussian(jnp.zeros((3, 4)), jnp.arange(12.0).reshape(3, 4))
    assert losses.inclusion(inner, outer, 1.0, rows=jnp.zeros(3, bool)) == 0
    one = losses.inclusion(inner, outer, 1.0, rows=jnp.array([False, True, False]))
    alone = losses.inclusion(*(Gaussian(*(x[1:2] for x in g)) for g in (inner, outer)), 1.0)
    np.testing.assert_allclose(one, alone, rtol=1e-6)
