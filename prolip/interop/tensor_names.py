"""Names of tensors, without what programs around a model add to them."""

from collections.abc import Collection, Iterable

# Parts of a name that torch.compile, DistributedDataParallel, FSDP and Fabric put in, anywhere.
WRAPPERS = (
    "_orig_mod",
    "module",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "_forward_module",
)
BUFFERS = ("attn_mask", "position_ids")  # Last part of the name of what holds no weights.


def unwrapped(name: str) -> str:
    """Returns the name without the parts of wrappers."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def is_buffer(name: str) -> bool:
    """Returns True for a tensor that models compute, and some programs store beside weights."""
    return name.rpartition(".")[2] in BUFFERS


def common_prefix(names: Collection[str], wanted: Iterable[str]) -> str:
    """Returns what stands before the wanted names in all of the names, such as "model."; or ""."""
    known = set(wanted)
    if not names or not known.isdisjoint(names):
        return ""
    first = min(names)
    parts = first.split(".")
    for count in range(1, len(parts)):
        if ".".join(parts[count:]) in known:
            prefix = ".".join(parts[:count]) + "."
            return prefix if all(name.startswith(prefix) for name in names) else ""
    return ""
