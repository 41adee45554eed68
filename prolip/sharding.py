"""The mesh, one table from dimension names to mesh axes, and the way of host rows onto devices."""

import contextlib
import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from prolip.config import ConfigError, MeshConfig

AXES = ("data", "fsdp", "tensor")

# Dimension name -> mesh axes it is split over. The names are those of annotations and docstrings.
RULES: dict[str, str | tuple[str, ...] | None] = {
    # Activations.
    "batch": ("data", "fsdp"),
    "length": None,
    "embed": None,
    "dim": None,
    "pixels": None,
    # Parameters.
    "weight_embed": "fsdp",
    "heads": "tensor",
    "head_dim": None,
    "mlp": "tensor",
    "vocab": None,
    "layers": None,
}


def spec(*dims: str) -> PartitionSpec:
    """How an array with these dimensions is laid out over the mesh; whole inside `per_device`."""
    if jax.sharding.get_abstract_mesh().manual_axes:
        return PartitionSpec(*(None for _ in dims))
    return PartitionSpec(*(RULES[dim] for dim in dims))


def init(*dims: str, inputs: int = 1, scale: float = 1.0):
    """LeCun-normal initializer for a weight whose first `inputs` dimensions are contracted.

    `scale` multiplies the variance.
    """
    initializer = nnx.initializers.variance_scaling(
        scale,
        "fan_in",
        "truncated_normal",
        in_axis=tuple(range(inputs)),
        out_axis=tuple(range(inputs, len(dims))),
    )
    return functools.partial(initializer, out_sharding=spec(*dims))


def normal(stddev: float, *dims: str):
    """Normal initializer with a layout."""
    return functools.partial(nnx.initializers.normal(stddev), out_sharding=spec(*dims))


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Mesh with Explicit axes `data`, `fsdp` and `tensor` over all devices.

    Raises:
      ConfigError: the sizes don't multiply to the number of devices, or don't fit the slices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = [config.data, config.fsdp, config.tensor]
    if sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
        raise ConfigError(
            f"config.mesh: sizes are at least 1, and one of them may be -1; got {sizes}"
        )
    known = math.prod(size for size in sizes if size != -1)
    if -1 in sizes and len(devices) % known == 0:
        sizes[sizes.index(-1)] = len(devices) // known
    if math.prod(sizes) != len(devices):
        raise ConfigError(
            f"config.mesh: {'x'.join(map(str, sizes))} (data x fsdp x tensor) does not cover "
            f"{len(devices)} devices; set one size to -1 to take what is left"
        )
    return _arrange(tuple(sizes), devices)


def _arrange(sizes: tuple[int, ...], devices: Sequence[jax.Device]) -> Mesh:
    """Devices in the order that the network likes, if each process then feeds adjacent rows.

    Else process after process, slice after slice: `data` is the outermost axis, so that what the
    layers exchange stays in a slice, and neighbours of a process are its neighbours in the torus.
    """
    slices = len({_slice(device) for device in devices})
    if slices == 1:
        with contextlib.suppress(NotImplementedError):  # Sizes that don't follow the torus.
            mesh = jax.make_mesh(sizes, AXES, devices=devices)
            if _rows_are_adjacent(mesh):
                return mesh
    # Nodes of GPUs count as slices too; there, sharding over a few of them is a choice.
    if sizes[0] % slices and devices[0].platform == "tpu":
        raise ConfigError(
            f"config.mesh.data: {sizes[0]} is not a multiple of the {slices} slices; the axes fsdp "
            "and tensor exchange within every layer, which the network between slices is too slow "
            "for"
        )
    order = sorted(devices, key=lambda d: (_slice(d), d.process_index, d.id))
    grid = np.array(order, dtype=object).reshape(sizes)
    return Mesh(grid, AXES, axis_types=(AxisType.Explicit,) * len(AXES))


def _slice(device: jax.Device) -> int:
    return getattr(device, "slice_index", 0) or 0


def _rows_are_adjacent(mesh: Mesh) -> bool:
    """Whether the rows of the batch that a process feeds are one range, for every process."""
    rows: dict[int, set[int]] = {}
    for row, holders in enumerate(mesh.devices.reshape(batch_shards(mesh), -1)):
        for device in holders:
            rows.setdefault(device.process_index, set()).add(row)
    return all(max(r) - min(r) + 1 == len(r) for r in rows.values())


def some_mesh() -> contextlib.AbstractContextManager[Any]:
    """A mesh to take shapes and structure under: the one that is set, or one of a single device."""
    if not no_mesh():
        return contextlib.nullcontext()
    single = AbstractMesh((1, 1, 1), AXES, axis_types=(AxisType.Explicit,) * 3)
    return jax.sharding.use_abstract_mesh(single)


def batch_shards(mesh: Mesh | AbstractMesh | None = None) -> int:
    """Number of parts that a batch is split into; by the mesh that is set if none is given."""
    sizes = (mesh or jax.sharding.get_abstract_mesh()).shape
    return sizes["data"] * sizes["fsdp"]


def only_data(mesh: Mesh | AbstractMesh) -> bool:
    """Whether several devices lie along `data` alone, so that each has all parameters."""
    return 1 < mesh.size == mesh.shape["data"]


def per_device(f: Any, in_specs: Any, out_specs: Any) -> Any:
    """`f` on the rows of each device by itself, on meshes with `only_data`; elsewhere `f` as it is.

    The gradient of what all devices have is then added up within each first and exchanged once, in
    its own dtype, however often `f` uses it. With other axes JAX 0.10 can't do it: rows can't be
    looked up where some axes are by hand and others are not.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if no_mesh() or not only_data(mesh):
        return f

    def wrapped(*arguments: Any) -> Any:
        # Sizes of one are still names in the layouts of parameters.
        laid_out = jax.tree.map(
            lambda layout, tree: jax.tree.map(lambda x: jax.sharding.reshard(x, layout), tree),
            in_specs,
            arguments,
            is_leaf=lambda x: isinstance(x, PartitionSpec),
        )
        by_hand = jax.shard_map(f, in_specs=in_specs, out_specs=out_specs, check_vma=False)
        return by_hand(*laid_out)

    return wrapped


def like(tree: Any, other: Any) -> Any:
    """The arrays of `other`, laid out as those of `tree`."""
    if no_mesh():
        return other
    return jax.tree.map(lambda x, y: jax.sharding.reshard(y, jax.typeof(x).sharding), tree, other)


def sum_over_devices(tree: Any) -> Any:
    """Inside `per_device`, the sum of the devices' arrays; elsewhere the arrays."""
    if not jax.sharding.get_abstract_mesh().manual_axes:
        return tree
    return jax.lax.psum(tree, "data")


def process_rows(mesh: Mesh, global_batch: int) -> tuple[int, int]:
    """First row and number of rows of the global batch that this process feeds."""
    sharding = NamedSharding(mesh, spec("batch"))
    slices = sharding.addressable_devices_indices_map((global_batch,)).values()
    bounds = [s[0].indices(global_batch)[:2] for s in slices if s is not None]
    start, stop = min(b[0] for b in bounds), max(b[1] for b in bounds)
    if stop - start != sum(b[1] - b[0] for b in set(bounds)):
        raise ConfigError("config.mesh: the rows of a process are not contiguous in this mesh")
    return start, stop - start


def to_global(mesh: Mesh, rows: Any) -> Any:
    """Puts this process's rows of a batch (a tree of numpy arrays) onto the mesh, split by row."""
    sharding = NamedSharding(mesh, spec("batch"))
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding, np.ascontiguousarray(x)), rows
    )


def no_mesh() -> bool:
    """Whether functions of arrays leave layouts to JAX: outside a mesh, and inside `per_device`."""
    mesh = jax.sharding.get_abstract_mesh()
    return mesh.empty or bool(mesh.manual_axes)


def layout_of(x: jax.Array) -> Any:
    """How an array is laid out, for making another like it; None where no mesh is set."""
    return None if no_mesh() else jax.typeof(x).sharding


def take_rows(tree: Any, index: jax.Array) -> Any:
    """Rows of arrays [rows, dim] by number, laid out as `index` is; any device may hold them."""
    out_sharding = None if no_mesh() else spec("batch", "dim")
    return jax.tree.map(lambda x: replicate(x).at[index].get(out_sharding=out_sharding), tree)


def replicate(tree: Any) -> Any:
    """Gives every device all rows, and sums their gradients; nothing outside a mesh."""
    if no_mesh():
        return tree
    return jax.tree.map(lambda x: jax.sharding.reshard(x, PartitionSpec()), tree)


def abstract(tree: Any, mesh: Mesh) -> Any:
    """Shapes, dtypes and shardings on `mesh` of a tree of arrays or of `jax.eval_shape` output."""

    def leaf(x: Any) -> jax.ShapeDtypeStruct:
        partition = getattr(getattr(x, "sharding", None), "spec", None) or PartitionSpec()
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, partition))

    return jax.tree.map(leaf, tree)


def reshape(x: jax.Array, shape: tuple[int, ...], *dims: str) -> jax.Array:
    """Reshapes and says the layout of the result, which splits and merges can't infer."""
    if no_mesh():
        return x.reshape(shape)
    return jax.lax.reshape(x, shape, out_sharding=spec(*dims))


def split_rows(x: jax.Array, parts: int) -> jax.Array:
    """[rows, ...] to [parts, rows / parts, ...]: part k has the rows k, k + parts, ...

    Interleaved, so that every device keeps its own rows and nothing moves.
    """
    shape = (len(x) // parts, parts, *x.shape[1:])
    return jnp.moveaxis(reshape(x, shape, "batch", *("dim",) * (len(shape) - 1)), 1, 0)


def merge_rows(x: jax.Array) -> jax.Array:
    """The inverse of `split_rows`."""
    shape = (x.shape[0] * x.shape[1], *x.shape[2:])
    return reshape(jnp.moveaxis(x, 0, 1), shape, "batch", *("dim",) * (len(shape) - 1))


def repeat_rows(x: jax.Array, num_rows: int) -> jax.Array:
    """The same [length, embed] for each row of a batch: [batch, length, embed]."""
    out_sharding = None if no_mesh() else spec("batch", "length", "embed")
    shape = (num_rows, *x.shape)
    return jax.lax.broadcast_in_dim(x, shape, (1, 2), out_sharding=out_sharding)


def zeros(*dims: str):
    """Zero initializer with a layout."""
    return functools.partial(nnx.initializers.zeros_init(), out_sharding=spec(*dims))
