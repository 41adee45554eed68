"""What training carries from step to step, and how it looks in a checkpoint."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from prolip import sharding
from prolip.models import two_tower
from prolip.models.two_tower import Params, TwoTower


class TrainState(NamedTuple):
    """Everything that the next step depends on besides the batch and the seed."""

    step: jax.Array  # Int32 scalar: updates done, skipped ones included.
    params: Params
    opt_state: optax.OptState


def init_state(
    model: TwoTower, optimizer: optax.GradientTransformation, key: jax.Array
) -> TrainState:
    """Fresh state, laid out by the rules; run it under the mesh."""

    @jax.jit
    def init(key: jax.Array) -> TrainState:
        params = model.init(key)
        return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))

    return init(key)


def abstract_state(
    model: TwoTower, optimizer: optax.GradientTransformation, mesh: jax.sharding.Mesh
) -> TrainState:
    """Shapes, dtypes and layouts of the state, without making it."""

    def init(params: Params) -> TrainState:
        return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params))

    params = two_tower.abstract_params(model.config, mesh.abstract_mesh)
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
        return sharding.abstract(jax.eval_shape(init, params), mesh)


def to_items(state: TrainState) -> dict[str, Any]:
    """State as plain nested dictionaries, so that reading them back needs no class of ours.

    `params` stands alone, so that an evaluator reads nothing else.
    """
    leaves = jax.tree_util.tree_leaves_with_path(state.opt_state)
    optimizer = {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
    return {"params": state.params, "optimizer": {"step": state.step, "state": optimizer}}


def from_items(items: Mapping[str, Any], like: TrainState) -> TrainState:
    """The inverse of `to_items`; `like` gives the structure of the optimizer's state."""
    saved = items["optimizer"]["state"]
    opt_state = jax.tree_util.tree_map_with_path(
        lambda path, _: saved[jax.tree_util.keystr(path)], like.opt_state
    )
    return TrainState(items["optimizer"]["step"], items["params"], opt_state)
