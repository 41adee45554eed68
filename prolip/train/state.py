"""What training carries from step to step, and how it looks in a checkpoint."""

from collections.abc import Iterable, Mapping
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


# Before the optimizer's names in checkpoints that version 0.1 made with gradient clipping, whose
# empty state was the first of a pair there.
CLIPPED = "[1]"


def to_items(state: TrainState, prefix: str = "") -> dict[str, Any]:
    """State as plain nested dictionaries, so that reading them back needs no class of ours.

    `params` stands alone, so that an evaluator reads nothing else.

    Args:
      state: of a run, or shapes of it.
      prefix: of the optimizer's names, "" but for the checkpoints of `name_prefix`.
    """
    leaves = jax.tree_util.tree_leaves_with_path(state.opt_state)
    optimizer = {prefix + jax.tree_util.keystr(path): leaf for path, leaf in leaves}
    return {"params": state.params, "optimizer": {"step": state.step, "state": optimizer}}


def from_items(items: Mapping[str, Any], like: TrainState, prefix: str = "") -> TrainState:
    """The inverse of `to_items`; `like` gives the structure of the optimizer's state."""
    saved = items["optimizer"]["state"]
    opt_state = jax.tree_util.tree_map_with_path(
        lambda path, _: saved[prefix + jax.tree_util.keystr(path)], like.opt_state
    )
    return TrainState(items["optimizer"]["step"], items["params"], opt_state)


def name_prefix(names: Iterable[str]) -> str:
    """Prefix of the optimizer's names, told from those in a checkpoint ("state/[1][0].count").

    Without clipping nothing begins with it: the second part of AdamW, its decay, has no arrays.
    """
    return CLIPPED if any(name.startswith(f"state/{CLIPPED}") for name in names) else ""


def at_step(opt_state: optax.OptState, step: jax.Array) -> optax.OptState:
    """The optimizer's state with its learning rate at `step` of the schedule.

    Schedules count the steps of the run, skipped ones included: they end where the run ends. The
    counts of Adam's bias correction are those of the updates that were applied.
    """

    def is_schedule(x: Any) -> bool:
        return isinstance(x, optax.ScaleByScheduleState)

    return jax.tree.map(
        lambda x: x._replace(count=step) if is_schedule(x) else x, opt_state, is_leaf=is_schedule
    )
