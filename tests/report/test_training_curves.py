"""Every term of the loss that is logged has a place in the report."""

import jax.numpy as jnp

from prolip.config import ObjectiveConfig
from prolip.gaussian import Gaussian
from prolip.losses.objective import Embeddings, objective
from prolip.report.training import CURVES


def test_every_term_has_a_curve():
    rows = Gaussian(jnp.eye(8), jnp.full((8, 8), -3.0))
    ids = jnp.arange(1, 9)
    _, metrics = objective(
        ObjectiveConfig(siglip=1.0, clip=1.0, inclusion_text_text=1.0),
        Embeddings(rows, rows, (rows, rows), (rows, rows)),
        jnp.ones(()),
        jnp.zeros(()),
        ids[:, None],
        ids,
    )
    terms = {name for name in metrics if name.startswith("loss/")}
    assert len(terms) == 8
    assert terms <= {name for _, _, names in CURVES for name in names}
