"""Every term of the loss that is logged has a place in the report."""

import jax
import jax.numpy as jnp

from prolip.config import ObjectiveConfig
from prolip.gaussian import Gaussian
from prolip.losses.objective import Embeddings, objective
from prolip.report.training import CURVES


def test_every_term_has_a_curve():
    rows = Gaussian(jnp.eye(8), jnp.full((8, 8), -3.0))
    ids = jnp.arange(1, 9)
    _, metrics = objective(
        ObjectiveConfig(
            **dict.fromkeys(("siglip", "clip", "pcmepp", "pcme", "triplet"), 1.0),
            inclusion_text_text=1.0,
            noisy_pairs="reweight",
            measure_mismatch=True,
        ),
        Embeddings(rows, rows, (rows, rows), (rows, rows)),
        jnp.ones(()),
        jnp.zeros(()),
        ids[:, None],
        ids,
        key=jax.random.key(0),
    )
    shown = ("loss/", "mismatch/push", "mismatch/gradient")
    terms = {name for name in metrics if name.startswith(shown)}
    assert len(terms) == 13
    assert terms <= {name for _, _, names in CURVES for name in names}
