"""Trees of arrays on disk: what may be saved, and reading them back exactly as asked."""

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import jax
import orbax.checkpoint as ocp
from etils import epath

from prolip.checkpoint.alias import without_patterns
from prolip.checkpoint.errors import CheckpointError, ContentsError
from prolip.checkpoint.extras import ASSETS, META

P = ParamSpec("P")
T = TypeVar("T")
ODD_FILES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


def check_items(items: Mapping[str, Any]) -> None:
    """Raises CheckpointError unless every item is a tree of non-empty arrays with distinct names.

    Args:
      items: name -> tree of `jax.Array`; the name becomes a directory.
    """
    for item, tree in items.items():
        if not item or item.startswith(("_", ".")) or os.sep in item or item in (ASSETS, META):
            raise CheckpointError(f"{item!r} can't be the name of an item of a checkpoint.")
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        if not leaves:
            raise CheckpointError(f"The item {item!r} has no arrays; leave it out.")
        seen: dict[str, str] = {}
        for path, leaf in leaves:
            name = f"{item}/{_name(path)}"
            if not isinstance(leaf, jax.Array):
                raise CheckpointError(
                    f"{name} is a {type(leaf).__name__}; arrays are saved as jax.Array and "
                    "everything else in `meta`."
                )
            if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                raise CheckpointError(f"{name} is a random key; save jax.random.key_data of it.")
            if leaf.size == 0:
                raise CheckpointError(f"{name} has no elements (shape {leaf.shape}); leave it out.")
            stored = jax.tree_util.keystr(path, simple=True, separator=".")
            if stored in seen:
                raise CheckpointError(f"{name} and {seen[stored]} would be stored as {stored!r}.")
            seen[stored] = name


def composite(items: Mapping[str, Any]) -> ocp.args.Composite:
    """Orbax's arguments that save all items."""
    return ocp.args.Composite(**{k: ocp.args.StandardSave(v) for k, v in items.items()})


def _as_checkpoint_error(function: Callable[P, T]) -> Callable[P, T]:
    """Makes what Orbax and TensorStore raise for odd files a sentence about the item of a step."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except (*ODD_FILES, OSError, RecursionError) as e:
            directory, item = args[:2]
            shown = " ".join(f"{type(e).__name__}: {e}".split())[:200]
            raise CheckpointError(f"{directory}/{item} can't be read: {shown}") from e

    return call


@_as_checkpoint_error
def restore(directory: Path, item: str, abstract: Any) -> Any:
    """Reads one item of a step.

    Args:
      directory: of the step.
      item: its name.
      abstract: tree of `jax.ShapeDtypeStruct`, each with a sharding over concrete devices, of any
        mesh; its shapes and dtypes must be those that were saved.

    Returns:
      The tree of `abstract` with arrays of exactly those shapes, dtypes and shardings.

    Raises:
      CheckpointError: the item is missing.
      ContentsError: leaves are missing, unknown, or of another shape or dtype; all of them are
        listed.
    """
    path = _item(directory, item)
    handler = ocp.StandardCheckpointHandler()
    checkpointer = ocp.Checkpointer(handler)
    try:
        stored = {_name(p): leaf for p, leaf in _leaves(handler.metadata(path).tree)}
        _check_chunks(stored)
        wanted = {_name(p): leaf for p, leaf in _leaves(abstract)}
        problems = mismatches(stored, wanted)
        if problems:
            lines = "\n  ".join(problems)
            raise ContentsError(
                f"{directory / item} does not hold what the configuration asks for:\n  {lines}\n"
                "Use the configuration that the checkpoint was made with."
            )
        restored = checkpointer.restore(path, args=ocp.args.StandardRestore(abstract))
    finally:
        checkpointer.close()
    for (leaf_path, got), want in zip(_leaves(restored), wanted.values(), strict=True):
        if got.shape != want.shape or got.dtype != want.dtype or got.sharding != want.sharding:
            raise CheckpointError(
                f"{item}/{_name(leaf_path)} came back as {_text(got)} over {got.sharding} instead "
                f"of {_text(want)} over {want.sharding}; this version of orbax-checkpoint can't be "
                "used."
            )
    return restored


@_as_checkpoint_error
def names(directory: Path, item: str) -> list[str]:
    """Names of the leaves of one item of a step, with slashes between the keys of the tree.

    Raises:
      CheckpointError: the item is missing or can't be read.
    """
    tree = ocp.StandardCheckpointHandler().metadata(_item(directory, item)).tree
    return [_name(path) for path, _ in _leaves(tree)]


def _item(directory: Path, item: str) -> epath.Path:
    if not (directory / item).is_dir():
        there = ", ".join(sorted(p.name for p in directory.iterdir() if (p / "_METADATA").exists()))
        raise CheckpointError(f"{directory} has no item {item!r}; it has: {there or 'none'}.")
    return epath.Path(without_patterns(directory) / item)


def mismatches(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """One line for each leaf that differs in name, shape or dtype, or has no place to go.

    Args:
      stored: name -> what has `shape` and `dtype`.
      wanted: name -> what has `shape`, `dtype` and `sharding`.
    """
    lines = [f"{name}: missing in the checkpoint" for name in sorted(wanted.keys() - stored.keys())]
    for name in sorted(stored.keys() - wanted.keys()):
        lines.append(f"{name}: in the checkpoint ({_text(stored[name])}), not asked for")
    for name in sorted(stored.keys() & wanted.keys()):
        have, want = stored[name], wanted[name]
        if tuple(have.shape) != tuple(want.shape) or have.dtype != want.dtype:
            lines.append(f"{name}: {_text(have)} in the checkpoint, {_text(want)} asked for")
        elif not _is_placed(getattr(want, "sharding", None)):
            lines.append(f"{name}: has no sharding over devices; give NamedSharding(mesh, spec)")
    return lines


def _check_chunks(stored: Mapping[str, Any]) -> None:
    """Raises CheckpointError for chunks above their array: a small file could fill the memory."""
    for name, leaf in stored.items():
        chunk = getattr(getattr(leaf, "storage", None), "chunk_shape", None) or ()
        if any(side > max(1, whole) for side, whole in zip(chunk, leaf.shape, strict=False)):
            raise CheckpointError(f"{name} is damaged: {_text(leaf)} in chunks of {list(chunk)}")


def _is_placed(sharding: Any) -> bool:
    mesh = getattr(sharding, "mesh", None)
    return isinstance(sharding, jax.sharding.Sharding) and not isinstance(
        mesh, jax.sharding.AbstractMesh
    )


def _text(leaf: Any) -> str:
    return f"{leaf.dtype}[{', '.join(map(str, leaf.shape))}]"


def _leaves(tree: Any) -> list[tuple[Any, Any]]:
    return jax.tree_util.tree_leaves_with_path(tree)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")
