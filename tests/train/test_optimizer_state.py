"""The optimizer's state in a checkpoint: its names, its counts, and what else may be restored."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from prolip.config import OptimizerConfig
from prolip.train.optimizer import make_optimizer, rate_change, schedule
from prolip.train.state import TrainState, at_step, from_items, name_prefix, to_items

PARAMS = {
    "text": {"blocks": {"mlp": {"kernel": jnp.ones((2, 3, 4))}}, "scale": jnp.ones(3)},
    "logit_bias": jnp.ones(()),
}
OPTIMIZERS = ("adamw", "muon")


def config_of(name, **changes):
    return OptimizerConfig(name=name, learning_rate=1e-3, warmup_steps=2, **changes)


def state_of(optimizer):
    return TrainState(jnp.zeros((), jnp.int32), PARAMS, optimizer.init(PARAMS))


def names(state, prefix=""):
    return [f"state/{name}" for name in to_items(state, prefix)["optimizer"]["state"]]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_names_in_a_checkpoint_are_the_same_with_and_without_clipping(name):
    plain, clipped = (
        state_of(make_optimizer(config_of(name, grad_clip_norm=norm), 10)) for norm in (0.0, 1.0)
    )
    assert names(plain) == names(clipped)
    assert name_prefix(names(plain)) == ""


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_checkpoint_that_0_1_made_with_clipping_is_read(name):
    optimizer = make_optimizer(config_of(name), 10)
    # As version 0.1 put the two together.
    old = state_of(optax.chain(optax.clip_by_global_norm(1.0), optimizer))
    old = old._replace(opt_state=jax.tree.map(lambda x: x + 3, old.opt_state))
    assert name_prefix(names(old)) == "[1]"
    like = state_of(optimizer)
    assert names(like, "[1]") == names(old)
    read = from_items(to_items(old), like, "[1]")
    chex.assert_trees_all_equal(read.opt_state, old.opt_state[1])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_clipping_gives_what_it_gave_as_a_part_of_the_optimizer(name):
    gradients = jax.tree.map(lambda x: 7 * x, PARAMS)
    optimizer = make_optimizer(config_of(name), 10)
    chained = optax.chain(optax.clip_by_global_norm(1.0), optimizer)
    clipped = make_optimizer(config_of(name, grad_clip_norm=1.0), 10)
    wanted, _ = jax.jit(chained.update)(gradients, chained.init(PARAMS), PARAMS)
    got, _ = jax.jit(clipped.update)(gradients, clipped.init(PARAMS), PARAMS)
    chex.assert_trees_all_equal(got, wanted)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_rate_is_that_of_the_step_of_the_run_however_many_were_skipped(name):
    config = config_of(name, grad_clip_norm=1.0, weight_decay=0.0)
    optimizer, step = make_optimizer(config, 10), jnp.int32(9)
    state = optimizer.init(PARAMS)
    _, state = optimizer.update(PARAMS, state, PARAMS)
    moved = at_step(state, step)
    updates, after = optimizer.update(PARAMS, moved, PARAMS)
    # The same moments at another step of the schedule.
    others, _ = optimizer.update(PARAMS, at_step(state, jnp.int32(4)), PARAMS)
    rate = schedule(config, 10)
    np.testing.assert_allclose(
        updates["logit_bias"] / others["logit_bias"], rate(9) / rate(4), rtol=1e-5
    )
    leaves = jax.tree_util.tree_leaves_with_path(after)
    counts = {int(x) for path, x in leaves if jax.tree_util.keystr(path).endswith(".count")}
    assert counts == {2, 10}  # Bias correction counts updates, the schedule steps.
    # A checkpoint of 0.1 that fell behind is put right by the next step.
    chex.assert_trees_all_equal_shapes_and_dtypes(moved, state)


@pytest.mark.parametrize(
    ("steps", "changes", "sentence"),
    [
        (10, {}, ""),
        (20, {}, "the learning rate was 3.81e-05 at step 10 and goes on with 0.000587"),
        (10, {"weight_decay": 0.0}, ""),
        (10, {"schedule": "constant"}, "goes on with 0.001"),
    ],
)
def test_a_schedule_that_makes_the_rate_jump_at_a_resume_is_noted(steps, changes, sentence):
    config = config_of("adamw")
    said = rate_change(config, 10, dataclasses.replace(config, **changes), steps, 10)
    assert sentence in said and bool(said) == bool(sentence)
